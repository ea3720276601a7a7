import { defineConfig } from 'vite';

export default defineConfig({
  base: '/playground/',
  // Monaco starts its workers as modules.
  worker: { format: 'es' },
  build: {
    // The notices that the bundled licences ask us to pass on.
    license: { fileName: 'licenses.md' },
    // Monaco alone is above the limit, and every visit needs it.
    chunkSizeWarningLimit: 8000,
    rolldownOptions: {
      // "use client" is for server rendering, of which there is none here.
      onLog: (level, log, report) => log.code === 'MODULE_LEVEL_DIRECTIVE' || report(level, log),
    },
  },
});
