//! What `angarium check` and the log say of a Redis: whether it lets us in, by TLS too, and whether it will do.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use angarium_tests::app::eventually;
use angarium_tests::builder;
use angarium_tests::process::program;
use angarium_tests::{Backend, Installation, Receiver, RedisCluster, RedisServer, RedisSetup, Sentinels};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::process::Command;

/// Whether `angarium check` finds this Redis good, and what it says of it.
async fn check(url: &str, certificates: Option<&Path>) -> (bool, String) {
    let directory = std::env::temp_dir();
    let mut command = Command::new(program());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ANGARIUM_")) {
        command.env_remove(name);
    }
    command.args(["check", "--json"]).current_dir(directory).env("ANGARIUM_REDIS_URL", url);
    command.env("ANGARIUM_LISTEN", "127.0.0.1:0");
    if let Some(certificates) = certificates {
        command.env("SSL_CERT_FILE", certificates);
    }
    let unique = uuid::Uuid::now_v7().simple();
    command.env("ANGARIUM_DATABASE_URL", format!("sqlite:///tmp/angarium-never-made-{unique}.db"));
    command.env("ANGARIUM_ADMIN_KEY", angarium_entity::api_key::ApiKeySecret::generate().reveal());
    command.env("ANGARIUM_ENCRYPTION_KEY", angarium_entity::sealer::Sealer::generate_key());
    let checked = command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("the program runs");
    let report: Value = serde_json::from_slice(&checked.stdout).unwrap_or_else(|_| panic!("{checked:?}"));
    let of_redis = report["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["name"] == "redis"));
    let of_redis = of_redis.unwrap_or_else(|| panic!("nothing is said of Redis: {report}"));
    (of_redis["ok"] == true, builder::text(&of_redis["detail"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_drop_schedules_is_warned_of() {
    let server = RedisServer::start(&RedisSetup::default()).await;
    let url = format!("redis://{}/", server.address());
    let (is_good, detail) = check(&url, None).await;
    assert!(is_good && detail.starts_with("reached, version ") && !detail.contains("maxmemory-policy"), "{detail}");
    let () = server.told(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let (is_good, detail) = check(&url, None).await;
    assert!(is_good && detail.contains("The `maxmemory-policy` of Redis is `allkeys-lru`"), "{detail}");

    let mut installation = Installation::new(Backend::Sqlite).await;
    installation.set("ANGARIUM_REDIS_URL", &url);
    let process = installation.serve();
    eventually("the log says so too", async || process.has_said("of Redis is `allkeys-lru`").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_master_of_a_cluster_that_may_drop_schedules_is_warned_of() {
    let cluster = RedisCluster::start(&RedisSetup::default()).await;
    let url = format!("redis+cluster://{}", cluster.hosts());
    let (is_good, detail) = check(&url, None).await;
    assert!(is_good && !detail.contains("maxmemory-policy"), "{detail}");
    let () = cluster.0[2].told(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]).await;
    // Whichever of them is asked first.
    for _ in 0..5 {
        let (is_good, detail) = check(&url, None).await;
        assert!(is_good && detail.contains("of Redis is `volatile-ttl`"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_lets_in_who_knows_user_and_password_and_nobody_else() {
    let setup = RedisSetup { password: Some("p@ss/word"), ..RedisSetup::default() };
    let server = RedisServer::start(&setup).await;
    let () = server.told(&["ACL", "SETUSER", "courier", "on", ">by day", "~ang:*", "&ang:*", "+@all"]).await;
    let address = server.address();
    for (login, is_let_in) in [
        (":p%40ss%2Fword@", true),
        ("default:p%40ss%2Fword@", true),
        ("courier:by%20day@", true),
        ("courier:by%20night@", false),
        (":wrong@", false),
        ("", false),
    ] {
        let (is_good, detail) = check(&format!("redis://{login}{address}/"), None).await;
        assert_eq!(is_good, is_let_in, "{login}: {detail}");
        assert!(!detail.contains("wrong") && !detail.contains("night"), "no password is told: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_user_who_may_not_do_what_a_node_does_is_told_what_that_is() {
    let server = RedisServer::start(&RedisSetup::default()).await;
    let commands = "+evalsha +eval +script|load +hmget +hset +hdel +hincrby +zadd +zrem +zcard +zrange +zremrangebyscore \
                    +zremrangebyrank +zscore +unlink";
    let may = |rights: &str| {
        let asked = format!("ACL SETUSER node reset on >x {rights}");
        asked.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let url = format!("redis://node:x@{}/", server.address());
    for (rights, wanted) in [
        (
            "~ang:* &ang:* +ping +info +client".to_owned(),
            Some("the scripts that hold retry schedules do not run on keys `ang:"),
        ),
        (format!("~other:* &ang:* +ping +info +publish +subscribe {commands}"), Some("do not run on keys `ang:")),
        (
            format!("~ang:* &ang:* +ping +info +publish +subscribe {commands}").replace("+zscore ", ""),
            Some("do not run on keys"),
        ),
        (
            format!("~ang:* &ang:* +ping +info +publish {commands}"),
            Some("nodes cannot publish and subscribe to channels `ang:"),
        ),
        (
            format!("~ang:* &other:* +ping +info +publish +subscribe {commands}"),
            Some("nodes cannot publish and subscribe"),
        ),
        (format!("~ang:* &ang:* +ping +info +publish +subscribe {commands}"), None),
    ] {
        let asked = may(&rights);
        let () = server.told(&asked.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let before = server.keys("*").await.len();
        let (is_good, detail) = check(&url, None).await;
        assert!(!is_good || server.keys("*").await.len() == before, "what was tried is cleared away");
        assert_eq!(is_good, wanted.is_none(), "{rights}: {detail}");
        assert!(wanted.is_none_or(|wanted| detail.contains(wanted)), "{rights}: {detail}");
    }
}

/// A folder with an authority, and what it has signed for 127.0.0.1.
struct Certificates(PathBuf);

impl Certificates {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(&folder).expect("the temporary directory is writable");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        for (file, kind, bytes) in [
            ("authority.pem", "CERTIFICATE", authority.der().to_vec()),
            ("server.pem", "CERTIFICATE", certificate.der().to_vec()),
            ("server.key", "PRIVATE KEY", key.serialize_der()),
        ] {
            let text = format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(bytes));
            std::fs::write(folder.join(file), text).expect("it is writable");
        }
        Self(folder)
    }

    fn authority(&self) -> PathBuf {
        self.0.join("authority.pem")
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_redis_is_reached_by_tls_whose_authority_is_trusted_and_no_other() {
    let (certificates, stranger) = (Certificates::new(), Certificates::new());
    let setup = RedisSetup { tls: Some(certificates.0.clone()), password: Some("secret"), ..RedisSetup::default() };
    let single = RedisServer::start(&setup).await;
    let sentinels = Sentinels::start(&setup, None).await;
    let cluster = RedisCluster::start(&setup).await;
    let sentinel = sentinels.sentinel.address();
    let rest_of_urls = [
        format!("://:secret@{}/", single.address()),
        format!("+sentinel://:secret@{sentinel}/{}", Sentinels::MASTER),
        format!("+cluster://:secret@{}", cluster.hosts()),
    ];
    for rest in rest_of_urls {
        let (is_good, detail) = check(&format!("rediss{rest}"), Some(&certificates.authority())).await;
        assert!(is_good && detail.starts_with("reached, version "), "{rest}: {detail}");
        let (is_good, detail) = check(&format!("rediss{rest}"), Some(&stranger.authority())).await;
        assert!(!is_good, "{rest}: {detail}");
        let (is_good, detail) = check(&format!("redis{rest}"), None).await;
        assert!(!is_good, "{rest}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_are_held_and_hints_are_heard_by_tls() {
    let certificates = Certificates::new();
    let setup = RedisSetup { tls: Some(certificates.0.clone()), ..RedisSetup::default() };
    let server = RedisServer::start(&setup).await;
    let mut installation = Installation::new(Backend::Postgres).await;
    installation.set("SSL_CERT_FILE", certificates.authority().to_str().expect("text"));
    installation.set("ANGARIUM_REDIS_URL", &format!("rediss://{}/", server.address()));
    let nodes = [installation.serve(), installation.serve()];
    eventually("both listen", async || {
        (server.told::<Vec<String>>(&["PUBSUB", "CHANNELS", "ang:*:node:*"]).await.len() == 2).then_some(())
    })
    .await;
    let api = installation.workspace(&nodes[0]).await;
    let receiver = Receiver::start().await;
    receiver.answer_from_now_on(500);
    let retry = json!({ "computed": { "strategy": "FIXED", "initialDelay": "PT10M", "maxAttempts": 5 } });
    let input = json!({ "eventTypes": ["*"], "endpoint": { "url": receiver.url() }, "retryPolicy": retry });
    builder::subscribe(&api, input).await;
    builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
    eventually("Redis holds the retry", async || (server.keys("ang:*:e:*").await.len() == 1).then_some(())).await;
}
