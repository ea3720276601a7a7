//! A database of its own for real programs, and the settings that they run on it with.

use std::path::{Path, PathBuf};

use angarium_entity::Database;
use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;

use crate::app::{Backend, create_database};
use crate::process::{Process, program};
use crate::{GraphQl, builder};

/// A migrated database, and who may use it.
#[derive(Debug)]
pub struct Installation {
    directory: PathBuf,
    database: String,
    admin: GraphQl,
    settings: Vec<(&'static str, String)>,
}

impl Installation {
    /// A fresh one.
    pub async fn new(backend: Backend) -> Self {
        let unique = uuid::Uuid::now_v7().simple().to_string();
        let directory = std::env::temp_dir().join(format!("angarium-test-{unique}"));
        std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
        let database = match backend {
            // The program migrates it itself.
            Backend::Sqlite => format!("sqlite://{}", directory.join("angarium.db").display()),
            Backend::Postgres => {
                let url = create_database(&unique).await;
                let db = Database::open(&url, 2).await.expect("the database opens");
                angarium_migration::up(db.write()).await.expect("the migrations apply");
                db.close().await;
                url
            }
        };
        let admin_key = ApiKeySecret::generate();
        let settings = vec![
            ("ANGARIUM_LISTEN", "127.0.0.1:0".to_owned()),
            ("ANGARIUM_DATABASE_URL", database.clone()),
            ("ANGARIUM_ADMIN_KEY", admin_key.reveal().to_owned()),
            ("ANGARIUM_ENCRYPTION_KEY", Sealer::generate_key()),
            ("ANGARIUM_ALLOW_HTTP", "true".to_owned()),
            ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8".to_owned()),
        ];
        Self { directory, database, admin: GraphQl::new("", admin_key.reveal()), settings }
    }

    /// Starts `angarium serve` on it.
    pub fn serve(&self) -> Process {
        self.serve_with(program())
    }

    /// The same with another build of the program.
    pub fn serve_with(&self, program: &Path) -> Process {
        Process::start_program(program, &self.directory, &["serve"], &self.settings)
    }

    /// Gives the nodes that are started from now on a setting more.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.settings.push((name, value.to_owned()));
    }

    /// What the program is told by its environment.
    pub fn settings(&self) -> &[(&'static str, String)] {
        &self.settings
    }

    /// The URL of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Calls a program as the operator.
    pub fn admin(&self, process: &Process) -> GraphQl {
        self.admin.at(process.base())
    }

    /// Makes the event type `invoice.paid` and a workspace, and calls the program with its key.
    pub async fn workspace(&self, process: &Process) -> GraphQl {
        let admin = self.admin(process);
        builder::event_type(&admin, "invoice.paid").await;
        let (_, key) = builder::workspace_with_key(&admin, "Acme").await;
        admin.with_key(&key)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // A failing test leaves its files to be looked at.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
