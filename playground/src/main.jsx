import 'graphiql/setup-workers/vite';
import 'graphiql/style.css';
import './playground.css';
import { createRoot } from 'react-dom/client';
import { readConfig } from './config.js';
import { Playground } from './playground.jsx';

createRoot(document.getElementById('playground')).render(<Playground config={readConfig()} />);
