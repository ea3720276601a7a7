//! A name server that answers what a test tells it to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// What is answered to the question for the addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// These, of which nobody may remember any.
    Addresses(Vec<IpAddr>),
    /// These, which may be remembered for so many seconds.
    Lasting(Vec<IpAddr>, u32),
    /// These, but only over TCP: by UDP it is said that there are more than fit.
    OverTcp(Vec<IpAddr>),
    /// Another name, and what that one answers.
    Alias(&'static str),
    /// To the question for IPv4 addresses the first, and to that for IPv6 addresses the second.
    Halves(Box<[Reply; 2]>),
    /// These, so much later. They may be remembered for an hour.
    Late(Vec<IpAddr>, Duration),
    /// Only this code.
    Code(ResponseCode),
    /// That the name does not exist, which may be remembered for so many seconds.
    Missing(u32),
    /// Nothing.
    Silence,
}

impl Reply {
    /// Different answers to the questions for IPv4 and for IPv6 addresses.
    pub fn halves(v4: Self, v6: Self) -> Self {
        Self::Halves(Box::new([v4, v6]))
    }

    /// These addresses.
    ///
    /// # Panics
    /// When one is none.
    pub fn addresses<const N: usize>(texts: [&str; N]) -> Self {
        Self::Addresses(texts.iter().map(|text| text.parse().expect("an address")).collect())
    }
}

/// Replies by name, in order; the last one is given again and again.
type Script = HashMap<Name, Vec<Reply>>;

/// A running name server. What is not in its script does not exist.
#[derive(Debug)]
pub struct NameServer {
    address: String,
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Vec<String>>>,
    servers: [JoinHandle<()>; 2],
}

impl NameServer {
    /// Starts one on a port that is free for UDP and TCP.
    pub async fn start() -> Self {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
            if let Ok(listener) = TcpListener::bind(socket.local_addr().expect("an address")).await {
                break (socket, listener);
            }
        };
        let address = socket.local_addr().expect("an address").to_string();
        let (script, asked): (Arc<Mutex<Script>>, Arc<Mutex<Vec<String>>>) = Default::default();
        let over_tcp = tokio::spawn(serve_tcp(listener, script.clone(), asked.clone()));
        let servers = [tokio::spawn(serve(socket, script.clone(), asked.clone())), over_tcp];
        Self { address, script, asked, servers }
    }

    /// Says what `name` answers, one after the other.
    #[must_use]
    pub fn with(self, name: &str, replies: impl IntoIterator<Item = Reply>) -> Self {
        self.tell(name, replies);
        self
    }

    /// Says what `name` answers from now on.
    pub fn tell(&self, name: &str, replies: impl IntoIterator<Item = Reply>) {
        self.script.lock().expect("no test panics here").insert(fqdn(name), replies.into_iter().collect());
    }

    /// Where it listens: address and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The names whose IPv4 addresses were asked for, in order.
    pub fn all_asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test panics here").clone()
    }

    /// How often the IPv4 addresses of `name` were asked for.
    pub fn asked(&self, name: &str) -> usize {
        let name = fqdn(name).to_ascii();
        self.asked.lock().expect("no test panics here").iter().filter(|asked| **asked == name).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

fn fqdn(name: &str) -> Name {
    let mut name = Name::from_ascii(name).expect("a name");
    name.set_fqdn(true);
    name.to_lowercase()
}

async fn serve(socket: UdpSocket, script: Arc<Mutex<Script>>, asked: Arc<Mutex<Vec<String>>>) {
    let mut buffer = [0; 4096];
    let socket = Arc::new(socket);
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let question = Message::from_vec(&buffer[..length]).expect("a question");
        if let Some((answer, delay)) = answer(&question, &script, &asked, false) {
            let socket = socket.clone();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = socket.send_to(&answer.to_vec().expect("it is whole"), from).await;
            });
        }
    }
}

/// A question and its answer come behind their length.
async fn serve_tcp(listener: TcpListener, script: Arc<Mutex<Script>>, asked: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (script, asked) = (script.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u16().await {
                let mut bytes = vec![0; length.into()];
                if stream.read_exact(&mut bytes).await.is_err() {
                    return;
                }
                let question = Message::from_vec(&bytes).expect("a question");
                let Some((answer, delay)) = answer(&question, &script, &asked, true) else { return };
                tokio::time::sleep(delay).await;
                let bytes = answer.to_vec().expect("it is whole");
                let length = u16::try_from(bytes.len()).expect("it is short").to_be_bytes();
                if stream.write_all(&[&length[..], &bytes].concat()).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// The answer to a question, and for how long it is held back.
fn answer(
    question: &Message,
    script: &Mutex<Script>,
    asked: &Mutex<Vec<String>>,
    is_tcp: bool,
) -> Option<(Message, Duration)> {
    let query = question.queries.first().expect("it asks for something").clone();
    let (name, kind) = (query.name().to_lowercase(), query.query_type());
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    let is_first_of_pair = kind == RecordType::A;
    if is_first_of_pair {
        asked.lock().expect("no test panics here").push(name.to_ascii());
    }
    let mut owner = query.name().clone();
    let mut place = name;
    let mut delay = Duration::ZERO;
    let mut script = script.lock().expect("no test panics here");
    loop {
        let mut reply = match script.get_mut(&place) {
            None => Reply::Code(ResponseCode::NXDomain),
            // The questions for both kinds of addresses come together, and mean one answer.
            Some(replies) if is_first_of_pair && replies.len() > 1 => replies.remove(0),
            Some(replies) => replies.first().cloned().unwrap_or(Reply::Silence),
        };
        if let Reply::Halves(halves) = reply {
            let [v4, v6] = *halves;
            reply = if is_first_of_pair { v4 } else { v6 };
        }
        match reply {
            Reply::Halves(_) => unreachable!("a half is whole"),
            Reply::Silence => return None,
            Reply::Code(code) => answer.metadata.response_code = code,
            Reply::Missing(seconds) => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                answer.add_authority(start_of_authority(seconds));
            }
            Reply::Alias(other) => {
                let target = fqdn(other);
                let data = RData::CNAME(CNAME(target.clone()));
                answer.add_answer(Record::from_rdata(owner, 0, data));
                (owner, place) = (target.clone(), target);
                continue;
            }
            Reply::OverTcp(_) if !is_tcp => answer.metadata.truncation = true,
            Reply::Addresses(addresses) | Reply::OverTcp(addresses) => add(&mut answer, &owner, kind, addresses, 0),
            Reply::Lasting(addresses, seconds) => add(&mut answer, &owner, kind, addresses, seconds),
            Reply::Late(addresses, after) => {
                add(&mut answer, &owner, kind, addresses, 3_600);
                delay = after;
            }
        }
        return Some((answer, delay));
    }
}

/// What says how long a name may be taken for missing (RFC 2308, section 5).
fn start_of_authority(seconds: u32) -> Record {
    let zone = fqdn("example");
    let timer = i32::try_from(seconds).expect("a time that a zone may name");
    let data = RData::SOA(SOA::new(zone.clone(), zone.clone(), 1, timer, timer, timer, seconds));
    Record::from_rdata(zone, seconds, data)
}

fn add(answer: &mut Message, owner: &Name, kind: RecordType, addresses: Vec<IpAddr>, seconds: u32) {
    let all = addresses.into_iter().map(RData::from).filter(|data| data.record_type() == kind);
    answer.add_answers(all.map(|data| Record::from_rdata(owner.clone(), seconds, data)));
}
