//! How names are looked up: who is asked, how often, how long an answer is believed, and how many addresses are tried.

use std::net::IpAddr;
use std::time::Duration;

use angarium_tests::builder::{self, text};
use angarium_tests::dns::{NameServer, Reply};
use angarium_tests::{Backend, RawReceiver, TestApp};
use hickory_proto::op::ResponseCode;
use serde_json::json;

/// An endpoint that waits for its answer no longer than for a second, which is the least, at `url`.
async fn impatient(app: &TestApp, url: &str) {
    let endpoint = json!({ "create": { "url": url, "timeout": "PT1S" } });
    builder::subscribe(&app.api, json!({ "eventTypes": ["*"], "endpoint": endpoint })).await;
}

async fn start(names: &NameServer) -> TestApp {
    let settings = [("ANGARIUM_NAME_SERVERS", names.address()), ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8")];
    TestApp::start_with(Backend::Sqlite, &settings).await
}

/// The URL of a receiver, which takes a new connection for each request, with another host.
fn at(receiver: &RawReceiver, host: &str) -> String {
    receiver.url().replace("127.0.0.1", host)
}

fn loopback(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_addresses_of_a_name_four_are_tried() {
    // Nobody listens at the others.
    let (fourth, fifth) = ([7, 8, 9, 1, 6].map(loopback), [6, 7, 8, 9, 1].map(loopback));
    let names = NameServer::start()
        .await
        .with("fourth.example", [Reply::Addresses(fourth.to_vec())])
        .with("fifth.example", [Reply::Addresses(fifth.to_vec())]);
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    app.subscribe(&at(&receiver, "fourth.example")).await;
    app.publish(json!(1)).await;
    app.delivery_in("SUCCEEDED").await;
    app.subscribe(&at(&receiver, "fifth.example")).await;
    app.publish(json!(2)).await;
    let failed = app.delivery_in("RETRYING").await;
    assert_eq!(failed["attempts"]["nodes"][0]["error"]["message"], "the connection was refused");
    app.end().await;
}

/// The receiver takes a new connection for each request, so each asks anew for what is not believed any more.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_believed_for_as_long_as_it_says_between_five_seconds_and_five_minutes() {
    let lasting = |seconds| [Reply::Lasting(vec![loopback(1)], seconds)];
    let names = NameServer::start()
        .await
        .with("never.example", lasting(0))
        .with("second.example", lasting(1))
        .with("minute.example", lasting(60))
        .with("hour.example", lasting(3_600))
        .with("ever.example", lasting(u32::MAX >> 1))
        // The alias says that nobody may remember it, and what it leads to would last.
        .with("alias.example", [Reply::Alias("ever.example")]);
    let hosts = ["never", "second", "alias", "minute", "hour", "ever"].map(|name| format!("{name}.example"));
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    for host in &hosts {
        app.subscribe(&at(&receiver, host)).await;
    }
    let times = [
        (Duration::ZERO, [1, 1, 1, 1, 1, 1]),
        (Duration::from_millis(4_999), [1, 1, 1, 1, 1, 1]),
        (Duration::from_secs(5), [2, 2, 2, 1, 1, 1]),
        (Duration::from_millis(59_999), [3, 3, 3, 1, 1, 1]),
        (Duration::from_secs(60), [3, 3, 3, 2, 1, 1]),
        (Duration::from_millis(299_999), [4, 4, 4, 3, 1, 1]),
        (Duration::from_secs(300), [4, 4, 4, 3, 2, 2]),
    ];
    let mut now = Duration::ZERO;
    for (round, (time, asked)) in times.into_iter().enumerate() {
        app.clock.advance(time.saturating_sub(now));
        now = time;
        app.publish(json!(round)).await;
        receiver.expect_requests(hosts.len() * (round + 1)).await;
        assert_eq!(hosts.each_ref().map(|host| names.asked(host)), asked, "after {time:?}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_name_does_not_exist_is_believed_for_ten_seconds_at_most() {
    let names = NameServer::start()
        .await
        .with("hour.example", [Reply::Missing(3_600)])
        .with("bare.example", [Reply::Code(ResponseCode::NXDomain)]);
    for (host, believed) in [("hour.example", 10), ("bare.example", 5)] {
        let app = start(&names).await;
        let receiver = RawReceiver::start().await;
        app.subscribe(&at(&receiver, host)).await;
        app.publish(json!(1)).await;
        app.deliveries_in("RETRYING", 1).await;
        names.tell(host, [Reply::addresses(["127.0.0.1"])]);
        let before = names.asked(host);
        app.publish(json!(2)).await;
        for failed in app.deliveries_in("RETRYING", 2).await {
            let told = text(&failed["attempts"]["nodes"][0]["error"]["message"]);
            assert_eq!(told, format!("the host name {host} does not exist"));
        }
        assert_eq!(names.asked(host), before, "{host}");
        app.clock.advance(Duration::from_secs(believed));
        app.publish(json!(3)).await;
        receiver.expect_requests(1).await;
        assert_eq!(names.asked(host), before + 1, "{host}");
        app.clock.advance(Duration::from_secs(10));
        app.deliveries_in("SUCCEEDED", 3).await;
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_name_server_answers_the_addresses_are_used_that_a_name_had_within_the_hour() {
    let names = NameServer::start().await.with("kept.example", [Reply::Lasting(vec![loopback(1)], 60)]);
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    app.subscribe(&at(&receiver, "kept.example")).await;
    app.publish(json!(1)).await;
    app.deliveries_in("SUCCEEDED", 1).await;
    names.tell("kept.example", [Reply::Code(ResponseCode::ServFail)]);
    app.clock.advance(Duration::from_secs(60));
    app.publish(json!(2)).await;
    app.deliveries_in("SUCCEEDED", 2).await;
    let asked = names.asked("kept.example");
    assert!(asked > 1, "it was asked for again, in vain");
    app.publish(json!(3)).await;
    app.deliveries_in("SUCCEEDED", 3).await;
    assert_eq!(names.asked("kept.example"), asked, "the name server is left in peace for a while");
    app.clock.advance(Duration::from_hours(1));
    app.publish(json!(4)).await;
    let failed = app.delivery_in("RETRYING").await;
    let told = text(&failed["attempts"]["nodes"][0]["error"]["message"]);
    assert_eq!(told, "the host name kept.example could not be resolved");
    names.tell("kept.example", [Reply::addresses(["127.0.0.1"])]);
    app.clock.advance(Duration::from_secs(10));
    app.deliveries_in("SUCCEEDED", 4).await;
    app.end().await;
}

/// Where a name has IPv6 addresses too, they lead nowhere from here, as on a machine without IPv6.
#[tokio::test(flavor = "multi_thread")]
async fn half_an_answer_is_believed_for_five_seconds_and_takes_away_no_address_that_was_known() {
    let broken = || Reply::Code(ResponseCode::ServFail);
    let known = || Reply::Lasting(vec![loopback(1)], 60);
    let other = || Reply::Lasting(vec!["::1".parse().expect("an address")], 300);
    let names = NameServer::start()
        .await
        .with("found.example", [known()])
        .with("empty.example", [known()])
        .with("new.example", [Reply::halves(broken(), other())]);
    let settings = [("ANGARIUM_NAME_SERVERS", names.address()), ("ANGARIUM_ALLOW_CIDRS", "127.0.0.0/8,::1/128")];
    let app = TestApp::start_with(Backend::Sqlite, &settings).await;
    let receiver = RawReceiver::start().await;
    for host in ["found.example", "empty.example"] {
        app.subscribe(&at(&receiver, host)).await;
    }
    app.publish(json!(1)).await;
    receiver.expect_requests(2).await;
    names.tell("found.example", [Reply::halves(broken(), other())]);
    names.tell("empty.example", [Reply::halves(Reply::addresses([]), broken())]);
    app.clock.advance(Duration::from_secs(60));
    app.publish(json!(2)).await;
    receiver.expect_requests(4).await;
    let asked = names.asked("found.example");
    app.clock.advance(Duration::from_secs(5));
    app.publish(json!(3)).await;
    receiver.expect_requests(6).await;
    assert!(names.asked("found.example") > asked, "half an answer is believed for five seconds");
    app.deliveries_in("SUCCEEDED", 6).await;

    app.subscribe(&at(&receiver, "new.example")).await;
    app.publish(json!(4)).await;
    let failed = app.delivery_in("RETRYING").await;
    assert_eq!(failed["attempts"]["nodes"][0]["error"]["code"], "CONNECTION", "{failed}");
    names.tell("new.example", [known()]);
    app.clock.advance(Duration::from_secs(10));
    app.deliveries_in("SUCCEEDED", 9).await;
    app.end().await;
}

/// They take three seconds to fail, and the endpoint waits for one.
#[tokio::test(flavor = "multi_thread")]
async fn silent_name_servers_take_no_time_from_an_endpoint_whose_addresses_are_known() {
    let names = NameServer::start().await.with("silent.example", [Reply::Lasting(vec![loopback(1)], 60)]);
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    impatient(&app, &at(&receiver, "silent.example")).await;
    app.publish(json!(1)).await;
    receiver.expect_requests(1).await;
    names.tell("silent.example", [Reply::Silence]);
    app.clock.advance(Duration::from_secs(60));
    for count in 2..5 {
        app.publish(json!(count)).await;
        for delivered in app.deliveries_in("SUCCEEDED", count).await {
            assert_eq!(delivered["attempts"]["nodes"].as_array().map(Vec::len), Some(1), "{delivered}");
        }
        app.clock.advance(Duration::from_secs(10));
    }
    app.end().await;
}

/// It comes after the second for which the endpoint waits, and before it is asked for anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_too_late_for_one_delivery_is_there_for_the_next() {
    let late = Reply::Late(vec![loopback(1)], Duration::from_millis(1_200));
    let names = NameServer::start().await.with("late.example", [late]);
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    impatient(&app, &at(&receiver, "late.example")).await;
    app.publish(json!(1)).await;
    let failed = app.delivery_in("RETRYING").await;
    assert_eq!(failed["attempts"]["nodes"][0]["error"]["code"], "TIMEOUT", "{failed}");
    app.publish(json!(2)).await;
    app.deliveries_in("SUCCEEDED", 1).await;
    app.clock.advance(Duration::from_secs(10));
    app.deliveries_in("SUCCEEDED", 2).await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let names = NameServer::start().await.with("large.example", [Reply::OverTcp(vec![loopback(1)])]);
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    app.subscribe(&at(&receiver, "large.example")).await;
    app.publish(json!(1)).await;
    app.delivery_in("SUCCEEDED").await;
    receiver.expect_requests(1).await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_file_goes_first_and_a_name_without_a_dot_is_asked_for_as_it_is() {
    let hosts = std::fs::read_to_string("/etc/hosts").expect("it is there");
    let is_local = |line: &str| line.split_whitespace().next() == Some("127.0.0.1") && line.contains("localhost");
    assert!(hosts.lines().any(is_local), "it names this machine: {hosts}");
    // Who asked the name server would be led elsewhere.
    let names = NameServer::start().await.with("localhost", [Reply::addresses(["127.0.0.6"])]);
    let app = start(&names).await;
    let receiver = RawReceiver::start().await;
    app.subscribe(&at(&receiver, "localhost")).await;
    app.publish(json!(1)).await;
    app.delivery_in("SUCCEEDED").await;
    app.subscribe(&at(&receiver, "intranet")).await;
    app.publish(json!(2)).await;
    let failed = app.delivery_in("RETRYING").await;
    assert_eq!(text(&failed["attempts"]["nodes"][0]["error"]["message"]), "the host name intranet does not exist");
    assert_eq!(names.all_asked(), ["intranet."]);
    let requests = receiver.expect_requests(2).await;
    assert!(requests.iter().all(|request| request.header("host").starts_with("localhost:")), "{requests:?}");
    app.end().await;
}
