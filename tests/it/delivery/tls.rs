//! HTTPS against receivers with certificates of a made-up authority, which the server is told to trust.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use angarium_entity::api_key::ApiKeySecret;
use angarium_entity::sealer::Sealer;
use angarium_tests::app::eventually;
use angarium_tests::builder::{self, text};
use angarium_tests::process::Process;
use angarium_tests::{GraphQl, dns};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The name that certificates are for. The name server of the test leads it to this machine.
const NAME: &str = "receiver.example";

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A certificate for `name`, good from the one year to the other, and its key.
    fn sign(&self, name: &str, years: (i32, i32)) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        self.sign_for(name, years, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The same for this use.
    fn sign_for(
        &self,
        name: &str,
        years: (i32, i32),
        usage: ExtendedKeyUsagePurpose,
    ) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }
}

/// Answers 204 over TLS with this certificate.
async fn serve((certificate, key): (CertificateDer<'static>, PrivateKeyDer<'static>)) -> SocketAddr {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("its versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they belong together");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = vec![0; 65_536];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                }
            });
        }
    });
    address
}

/// Takes the greeting of TLS and answers these bytes.
async fn say(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 65_536];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(&answer).await;
            // Its end comes after what was said.
            let _ = stream.read(&mut buffer).await;
        }
    });
    address
}

/// Takes the greeting of TLS and closes.
async fn close() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut vec![0; 65_536]).await;
        }
    });
    address
}

/// A fatal alert: `handshake_failure`.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

/// The greeting of a server that knows nothing newer than TLS 1.1 (RFC 4346, section 7.4.1.3).
fn hello_of_tls_1_1() -> Vec<u8> {
    let (random, no_session, suite, no_compression) = ([7; 32], [0], [0xc0, 0x13], [0]);
    let body = [&[3, 2][..], &random, &no_session, &suite, &no_compression].concat();
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("it is short");
    let message = [&[2, 0, 0, length(&body)][..], &body].concat();
    [&[22, 3, 1, 0, length(&message)][..], &message].concat()
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(certificate))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_certificate_is_accepted_and_every_other_is_told_apart() {
    let (authority, stranger) = (Authority::new("Known"), Authority::new("Stranger"));
    let directory: PathBuf = std::env::temp_dir().join(format!("angarium-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&directory).expect("the temporary directory is writable");
    let roots = directory.join("roots.pem");
    std::fs::write(&roots, pem(&authority.certificate())).expect("the file can be written");
    let names = dns::NameServer::start().await.with(NAME, [dns::Reply::addresses(["127.0.0.1"])]);
    let (admin_key, encryption_key) = (ApiKeySecret::generate(), Sealer::generate_key());
    let settings = [
        ("SSL_CERT_FILE", roots.to_str().expect("text")),
        ("ANGARIUM_LISTEN", "127.0.0.1:0"),
        ("ANGARIUM_DATABASE_URL", "sqlite://tls.db"),
        ("ANGARIUM_ADMIN_KEY", admin_key.reveal()),
        ("ANGARIUM_ENCRYPTION_KEY", &encryption_key),
        ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8"),
        ("ANGARIUM_NAME_SERVERS", names.address()),
    ];
    let process = Process::start(&directory, &["serve"], &settings);
    let admin = GraphQl::new(process.base(), admin_key.reveal());
    builder::event_type(&admin, "invoice.paid").await;
    let (_, key) = builder::workspace_with_key(&admin, "Acme").await;
    let api = admin.with_key(&key);

    let now = (2020, 2120);
    let refused = [
        ("expired", serve(authority.sign(NAME, (2001, 2002))).await, "the certificate has expired"),
        ("too new", serve(authority.sign(NAME, (2110, 2120))).await, "the certificate is not valid yet"),
        ("another name", serve(authority.sign("other.example", now)).await, "the certificate is for another host name"),
        (
            "a stranger's",
            serve(stranger.sign(NAME, now)).await,
            "the certificate is not from an authority that this server trusts",
        ),
        (
            "another authority of the same name",
            serve(Authority::new("Known").sign(NAME, now)).await,
            "the signature of the certificate is wrong",
        ),
        (
            "for clients",
            serve(authority.sign_for(NAME, now, ExtendedKeyUsagePurpose::ClientAuth)).await,
            "the certificate is not valid",
        ),
        ("an end", close().await, "the receiver broke off the TLS handshake"),
        ("an alert", say(ALERT.to_vec()).await, "the receiver broke off the TLS handshake"),
        (
            "an old version",
            say(hello_of_tls_1_1()).await,
            "the receiver speaks no version or cipher of TLS that this server does",
        ),
        (
            "no TLS",
            say(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await,
            "the receiver does not speak TLS at this port",
        ),
    ];
    let trusted = serve(authority.sign(NAME, now)).await;
    let mut endpoints = Vec::new();
    for address in refused.iter().map(|(_, address, _)| *address).chain([trusted]) {
        let url = format!("https://{NAME}:{}/in", address.port());
        let input = json!({ "eventTypes": ["*"], "endpoint": { "url": url }, "retryPolicy": { "delays": [] } });
        endpoints.push(builder::subscribe(&api, input).await.endpoint);
    }
    builder::publish(&api, json!({ "eventType": "invoice.paid", "payload": 1 })).await;
    let query = "{ deliveries { nodes { status endpoint { id } attempts { nodes { error { code message } } } } } }";
    let ended = eventually("all have ended", async || {
        let nodes = api.data(query, json!({})).await["deliveries"]["nodes"].as_array().expect("a list").clone();
        let is_open = |node: &Value| node["status"] == "PENDING";
        (nodes.len() == endpoints.len() && !nodes.iter().any(is_open)).then_some(nodes)
    })
    .await;
    let of = |endpoint: &str| ended.iter().find(|node| node["endpoint"]["id"] == endpoint).expect("it has one");
    assert_eq!(of(&endpoints[refused.len()])["status"], "SUCCEEDED");
    for ((what, _, message), endpoint) in refused.iter().zip(&endpoints) {
        let error = &of(endpoint)["attempts"]["nodes"][0]["error"];
        assert_eq!((text(&error["code"]).as_str(), text(&error["message"]).as_str()), ("TLS", *message), "{what}");
    }
    drop(process);
    std::fs::remove_dir_all(directory).expect("the files can be removed");
}
