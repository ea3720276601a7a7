use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

fn subject(payload: &str) -> Subject {
    Subject::new("invoice.paid", &["shop-1".to_owned(), "eu".to_owned()], payload)
}

fn ask(filter: &str, payload: &str) -> Result<bool, EvaluationError> {
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.matches(&subject(payload), &mut Steps::default())
}

fn refusal(filter: &str) -> String {
    Filter::parse(filter).err().unwrap_or_else(|| panic!("it is a filter: {filter}")).to_string()
}

#[test]
fn filters_look_at_type_channels_and_payload() {
    let payload = r#"{"total":120.50,"n":7,"status":"open","items":[{"sku":"a","qty":2},{"sku":"b","qty":0}],"tags":["x","é"],"none":null,"flag":true}"#;
    for (filter, wanted) in [
        ("event.type == 'invoice.paid'", true),
        ("event.type.startsWith('sms.')", false),
        ("'eu' in event.channels && !('us' in event.channels)", true),
        ("event.payload.total > 100", true),
        ("event.payload.total >= 120.5 && event.payload.n % 2 == 1", true),
        ("event.payload.n * 2 == 14.0 && event.payload.n / 2 == 3 && event.payload.total * 2 == 241", true),
        ("event.payload.items.exists(i, i.qty > 1)", true),
        ("event.payload.items.all(i, i.qty > 0)", false),
        ("event.payload.items.exists_one(i, i.sku == 'b')", true),
        ("event.payload.items.map(i, i.qty).size() == 2", true),
        ("event.payload.items.map(i, i.qty > 0, i.sku) == ['a']", true),
        ("size(event.payload.items.filter(i, i.qty == 0)) == 1", true),
        ("event.payload.items[1].sku == 'b' && event.payload['items'][0]['sku'] == \"a\"", true),
        ("has(event.payload.status) && !has(event.payload.missing)", true),
        ("event.payload.none == null && event.payload.flag", true),
        ("event.payload.status.matches('^(open|new)$')", true),
        ("matches(event.payload.status, r'^\\w+$')", true),
        ("event.payload.tags == ['x', '\\u00e9'] && event.payload.tags[1].size() == 1", true),
        ("event.payload.status in ['open', 'new'] ? event.payload.n == 7 : false", true),
        ("event.payload.exists(k, k == 'total')", true),
        ("{'open': 1, 'paid': 2}[event.payload.status] == 1", true),
        ("int(event.payload.total) == 120 && string(event.payload.n) + '!' == '7!'", true),
        ("event.payload.missing == 1 || event.payload.n == 7", true),
        ("!(event.payload.missing == 1 && event.payload.n == 8) // past the error\n", true),
        ("-9223372036854775808 < 0 && 0x10 == 16 && 1u == 1 && 1e3 == 1000", true),
    ] {
        assert_eq!(ask(filter, payload), Ok(wanted), "{filter}");
    }
}

#[test]
fn what_is_missing_or_of_the_wrong_type_is_told_and_is_no_match() {
    for (filter, told) in [
        ("event.payload.a == 1", "there is no field `a`"),
        ("event.payload.l[2] == 1", "there is no element at that index of the list"),
        ("event.payload.s > 1", "`>` does not take a string and an int"),
        ("event.payload.s", "the filter came to a string, and must come to true or false"),
        ("event.payload.s.exists(x, true)", "a macro over a list does not take a string"),
        ("9223372036854775807 + event.payload.n > 0", "`+` has no result in its range"),
        ("1 / (event.payload.n - 1) > 0", "`/` has no result in its range"),
        ("int('x') == 1", "int has no result in its range"),
        ("event.payload.a == 1 && event.payload.n == 1", "there is no field `a`"),
    ] {
        let error = ask(filter, r#"{"s":"x","n":1,"l":[1]}"#).expect_err(filter);
        assert_eq!(error.to_string(), told, "{filter}");
    }
    assert_eq!(ask("event.payload.a == 1", "[1]").expect_err("no object").to_string(), "there is no field `a`");
}

#[test]
fn a_text_that_is_no_filter_is_refused_with_its_place_and_what_would_be_right() {
    for (filter, told) in [
        ("", "line 1, column 1: found the end where a value, such as `event.type`, a string or a number, should be"),
        ("event.type = 'a'", "line 1, column 12: `=` is not an operator; to compare write `==`"),
        ("event.type == 'a' &\n& true", "line 1, column 19: `&` is not an operator; for “and” write `&&`"),
        (
            "true &&\n  evnt.type == 'a'",
            "line 2, column 3: `evnt` is not a variable; there are `event.type`, `event.channels` and `event.payload`",
        ),
        (
            "event.data.x == 1",
            "line 1, column 7: the fields of `event` are `event.type`, `event.channels` and `event.payload`",
        ),
        (
            "event == 1",
            "line 1, column 1: the fields of `event` are `event.type`, `event.channels` and `event.payload`",
        ),
        (
            "event.payload.total >",
            "line 1, column 22: found the end where a value, such as `event.type`, a string or a number, should be",
        ),
        ("(event.payload.a == 1", "line 1, column 22: found the end where `)` should be"),
        ("event.payload.a == 1 event.type", "line 1, column 22: found `event` where an operator or the end should be"),
        ("event.type", "line 1, column 1: is a string, not a condition; compare it, as in `event.type == \"a.b\"`"),
        ("event.type.lower() == 'a'", "line 1, column 12: `lower` is not a function; there are"),
        ("event.type.contains()", "line 1, column 12: `contains` is called as `text.contains(part)`"),
        ("all(event.channels, true)", "line 1, column 1: `all` follows a list, as in `event.channels.all(x, …)`"),
        (
            "'ü' == event.type.matches('(')",
            "line 1, column 27: is not a regular expression of the RE2 kind: unclosed group",
        ),
        (
            "event.type.matches(event.payload.p)",
            "line 1, column 20: is not a string; the pattern of `matches` must be written out",
        ),
        ("event.type == 'a", "line 1, column 15: the string has no end; close it with '"),
        ("event.type == 'a\\q'", "line 1, column 17: is not an escape"),
        ("event.type == b'a'", "line 1, column 15: bytes are not supported"),
        ("99999999999999999999 > 1", "line 1, column 1: is out of the range of an int of 64 bits"),
        ("1e999 > 1", "line 1, column 1: is out of the range of a double"),
        ("event.channels.exists(event, true)", "line 1, column 23: `event` cannot be a variable"),
    ] {
        let refused = refusal(filter);
        assert!(refused.starts_with(told), "{filter}: {refused}");
    }
}

#[test]
fn numbers_of_any_size_are_compared_and_none_panics() {
    let payload = r#"{"big":12345678901234567890123,"huge":1e400,"tiny":-1e400,"u":18446744073709551615,"i":9007199254740993,"z":-0,"f":0.1}"#;
    for (filter, wanted) in [
        ("event.payload.big > 9223372036854775807", true),
        ("event.payload.huge > 1e308 && event.payload.tiny < -1e308", true),
        ("event.payload.huge == event.payload.huge", true),
        ("event.payload.u == 18446744073709551615u", true),
        ("event.payload.i == 9007199254740992.0", false),
        ("event.payload.z == 0 && event.payload.f == 0.1", true),
        ("event.payload.huge - event.payload.huge == 0.0", false),
    ] {
        assert_eq!(ask(filter, payload), Ok(wanted), "{filter}");
    }
    for filter in [
        "int(event.payload.huge) > 0",
        "uint(event.payload.tiny) > 0u",
        "event.payload.u + 1u > 0u",
        "event.payload.big % 2 == 0",
    ] {
        assert!(ask(filter, payload).is_err(), "{filter}");
    }
}

/// What a hostile author may send: none gets past the bounds, and none overflows the stack of a small thread.
#[test]
fn what_is_too_long_too_deep_or_too_large_is_refused() {
    let refused = || {
        for (text, told) in [
            ("x".repeat(LEN_MAX + 1), "longer"),
            (format!("{}true{}", "(".repeat(900), ")".repeat(900)), "deeper"),
            ("(".repeat(2_000), "deeper"),
            ("[".repeat(2_000), "deeper"),
            ("{'a':".repeat(400), "deeper"),
            (format!("{}true", "!".repeat(1_900)), "deeper"),
            (format!("{}1 == 1", "-".repeat(1_900)), "deeper"),
            (format!("{}1", "true ? 1 : ".repeat(170)), "deeper"),
            (format!("{}1", "true ? ".repeat(250)), "where `:` should be"),
            (format!("{}1 > 0", "1+".repeat(900)), "deeper"),
            (format!("event.payload{} == 1", ".a".repeat(900)), "deeper"),
            (format!("event.payload{} == 1", "[0]".repeat(600)), "deeper"),
            (format!("{} == 1", vec!["1"; 400].join(" < ")), "deeper"),
            (format!("[{}] == []", vec!["1"; 900].join(",")), "parts"),
            (vec!["1"; 500].join("||"), "parts"),
            ("[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))".to_owned(), "at most 3 nest"),
            (format!("event.type.matches('{}')", "(a{100}){100}".repeat(3)), "too large"),
            (format!("event.type.matches('{}')", "(".repeat(500)), "RE2"),
            (format!("event.type.matches('{}{}')", "(".repeat(500), ")".repeat(500)), "RE2"),
            ("@".repeat(2_000), "not part of the language"),
        ] {
            let error = refusal(&text);
            assert!(error.contains(told), "{}: {error}", &text[..40.min(text.len())]);
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(refused).expect("a thread starts");
    thread.join().expect("nothing overflows");
}

/// The costliest filters found, over the largest payload: each ends by itself or by its budget.
#[test]
fn no_filter_takes_more_than_its_steps() {
    let ones = format!("[{}1]", "1,".repeat(130_000));
    let text = format!("{{\"t\":\"{}\"}}", "a".repeat(262_000));
    let shorter = format!("{{\"t\":\"{}\"}}", "a".repeat(12_000));
    let keys = (0..20_000).fold(String::new(), |keys, key| keys + &format!("\"k{key}\":1,"));
    let object = format!("{{{keys}\"t\":1}}");
    for (filter, payload) in [
        ("event.payload.all(a, event.payload.all(b, event.payload.all(c, a == b && b == c)))", &ones),
        ("event.payload.map(a, event.payload.map(b, event.payload)).size() > 0", &ones),
        ("event.payload.map(a, [a] + event.payload).size() > 0", &ones),
        ("event.payload.exists(a, a in event.payload.map(b, b + 1))", &ones),
        ("event.payload.all(a, event.payload == event.payload)", &ones),
        (
            "[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, event.payload.t.contains('aaaaaaaaab') == false))",
            &text,
        ),
        ("[1,2,3,4,5,6,7,8,9].map(a, event.payload.t + event.payload.t + event.payload.t).size() > 0", &text),
        ("[1,2,3,4,5,6,7,8,9].all(a, event.payload.t.matches('(a?){30}b') == false)", &text),
        ("event.payload.t.matches('([a-z]*[a-y]*)*[0-9]') == false", &text),
        ("event.payload.t.matches('(a?){40}a{40}b') == false", &shorter),
        ("event.payload.t.matches('((a|b|c)*(a|c|d)*){60}x') == false", &shorter),
        ("event.payload.t.matches('[^b]*(a|[a-c]){200}z$') == false", &shorter),
        ("event.payload.all(k, event.payload[k] == 1)", &object),
        ("event.payload.all(k, k in event.payload)", &object),
        ("event.payload == {'a': 1} || event.payload.all(k, event.payload == event.payload)", &object),
    ] {
        let (parsed, subject) = (Filter::parse(filter).expect(filter), subject(payload));
        let mut steps = Steps::default();
        let started = std::time::Instant::now();
        let found = parsed.matches(&subject, &mut steps);
        println!("{:>9?} {:>7} {found:?} {filter}", started.elapsed(), steps.spent());
        match found {
            Err(EvaluationError::Steps) => assert!(steps.spent() > STEPS_MAX, "{filter}"),
            ended => assert!(ended.is_ok() && steps.spent() <= STEPS_MAX, "{filter}: {ended:?}"),
        }
    }
}

#[test]
fn deep_payloads_are_no_match_and_overflow_nothing() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(ask("event.payload == event.payload", &deep(128)), Ok(true));
    assert_eq!(ask("event.payload == event.payload", &deep(129)), Err(EvaluationError::PayloadDepth));
    assert_eq!(ask("event.type != ''", &deep(100_000)), Ok(true), "it does not look");
    for broken in ["", "{", "[1,", "{\"a\"", "\"", "\"\\", "nul", "-", "1 2", "{1:2}"] {
        assert!(ask("event.payload == 1", broken).is_err(), "{broken}");
    }
}

/// Random filters: what the crate `cel` calls true or false, we call the same.
#[test]
fn agrees_with_the_other_implementation() {
    #[derive(serde::Serialize)]
    struct Event {
        r#type: &'static str,
        channels: [&'static str; 2],
        payload: Payload,
    }
    #[derive(serde::Serialize)]
    struct Payload {
        n: i64,
        f: f64,
        s: &'static str,
        b: bool,
        l: [i64; 3],
        t: [&'static str; 2],
        o: Inner,
        z: (),
    }
    #[derive(serde::Serialize)]
    struct Inner {
        n: i64,
        s: &'static str,
    }
    let payload =
        Payload { n: 3, f: 2.5, s: "abcé", b: true, l: [1, 2, 3], t: ["a", "ab"], o: Inner { n: -1, s: "" }, z: () };
    let subject =
        subject(r#"{"n":3,"f":2.5,"s":"abcé","b":true,"l":[1,2,3],"t":["a","ab"],"o":{"n":-1,"s":""},"z":null}"#);
    let event = Event { r#type: "invoice.paid", channels: ["shop-1", "eu"], payload };
    let mut context = cel::Context::default();
    context.add_variable("event", cel::to_value(event).expect("it is plain data")).expect("it is a value");

    let mut chance = StdRng::seed_from_u64(7);
    let mut compared = 0;
    for _ in 0..3_000 {
        let text = condition(&mut chance, 4, &mut Vec::new());
        let Ok(Ok(theirs)) = std::panic::catch_unwind(|| cel::Program::compile(&text)) else { continue };
        let Ok(ours) = Filter::parse(&text) else {
            let refused = refusal(&text);
            assert!(refused.contains("at most 3 nest") || refused.contains("not a condition"), "{text}: {refused}");
            continue;
        };
        if let Ok(cel::Value::Bool(wanted)) = theirs.execute(&context) {
            assert_eq!(ours.matches(&subject, &mut Steps::default()), Ok(wanted), "{text}");
            compared += 1;
        }
    }
    assert!(compared > 1_500, "only {compared} could be compared");
}

fn one_of<T: Copy>(chance: &mut StdRng, among: &[T]) -> T {
    among[chance.random_range(0..among.len())]
}

fn condition(chance: &mut StdRng, depth: usize, ints: &mut Vec<String>) -> String {
    if depth == 0 {
        return one_of(chance, &["true", "false", "event.payload.b", "event.payload.missing", "has(event.payload.n)"])
            .to_owned();
    }
    let depth = depth - 1;
    match chance.random_range(0..12) {
        0 => format!("({} && {})", condition(chance, depth, ints), condition(chance, depth, ints)),
        1 => format!("({} || {})", condition(chance, depth, ints), condition(chance, depth, ints)),
        2 => format!("!{}", condition(chance, 0, ints)),
        3 | 4 => {
            let operator = one_of(chance, &["==", "!=", "<", "<=", ">", ">="]);
            format!("{} {operator} {}", int(chance, depth, ints), int(chance, depth, ints))
        }
        5 => {
            let operator = one_of(chance, &["==", "!=", "<", ">="]);
            format!("{} {operator} {}", text(chance, depth, ints), text(chance, depth, ints))
        }
        6 => {
            let function = one_of(chance, &["contains", "startsWith", "endsWith"]);
            format!("{}.{function}({})", text(chance, depth, ints), text(chance, depth, ints))
        }
        7 => format!("{} in {}", int(chance, depth, ints), list(chance, depth, ints)),
        8 => format!("{} == {}", list(chance, depth, ints), list(chance, depth, ints)),
        9 => {
            let range = list(chance, depth, ints);
            let name = format!("v{}", ints.len());
            ints.push(name.clone());
            let body = condition(chance, depth, ints);
            ints.pop();
            format!("{range}.{}({name}, {body})", one_of(chance, &["all", "exists", "exists_one"]))
        }
        10 => format!(
            "({} ? {} : {})",
            condition(chance, depth, ints),
            condition(chance, depth, ints),
            condition(chance, depth, ints)
        ),
        _ => format!("{}.matches('{}')", text(chance, depth, ints), one_of(chance, &["^a", "b+", "[é-]$", "a|b", ""])),
    }
}

fn int(chance: &mut StdRng, depth: usize, ints: &mut Vec<String>) -> String {
    if depth == 0 || chance.random_bool(0.4) {
        let known = [
            "0",
            "1",
            "-2",
            "7",
            "event.payload.n",
            "event.payload.o.n",
            "event.payload.l[1]",
            "event.payload.l[7]",
            "event.payload.f",
        ];
        if !ints.is_empty() && chance.random_bool(0.5) {
            return ints[chance.random_range(0..ints.len())].clone();
        }
        return one_of(chance, &known).to_owned();
    }
    match chance.random_range(0..4) {
        0 => format!("size({})", text(chance, depth - 1, ints)),
        1 => format!("{}.size()", list(chance, depth - 1, ints)),
        2 => format!("(true ? {} : 0)", int(chance, depth - 1, ints)),
        _ => {
            let operator = one_of(chance, &["+", "-", "*", "/", "%"]);
            format!("({} {operator} {})", int(chance, depth - 1, ints), int(chance, depth - 1, ints))
        }
    }
}

#[expect(clippy::only_used_in_recursion, reason = "every kind of expression is made in the same way")]
fn text(chance: &mut StdRng, depth: usize, ints: &mut Vec<String>) -> String {
    if depth == 0 || chance.random_bool(0.5) {
        let known = [
            "''",
            "'a'",
            "\"ab\"",
            "'\\u00e9'",
            "event.type",
            "event.payload.s",
            "event.payload.t[1]",
            "event.payload.o.s",
            "event.channels[0]",
        ];
        return one_of(chance, &known).to_owned();
    }
    match chance.random_range(0..2) {
        0 => format!("({} + {})", text(chance, depth - 1, ints), text(chance, depth - 1, ints)),
        _ => format!("string({})", one_of(chance, &["1", "event.payload.n", "event.payload.s"])),
    }
}

fn list(chance: &mut StdRng, depth: usize, ints: &mut Vec<String>) -> String {
    if depth == 0 || chance.random_bool(0.4) {
        return one_of(chance, &["[]", "[1, 2]", "event.payload.l", "[event.payload.n, 2]"]).to_owned();
    }
    let range = list(chance, depth - 1, ints);
    let name = format!("v{}", ints.len());
    match chance.random_range(0..3) {
        0 => format!("({range} + {})", list(chance, depth - 1, ints)),
        kind => {
            ints.push(name.clone());
            let made = if kind == 1 {
                format!("{range}.map({name}, {})", int(chance, depth - 1, ints))
            } else {
                format!("{range}.filter({name}, {})", condition(chance, depth - 1, ints))
            };
            ints.pop();
            made
        }
    }
}
