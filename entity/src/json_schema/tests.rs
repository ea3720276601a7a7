use std::time::Instant;

use serde_json::{Map, json};

use super::*;

fn faults(schema: &str) -> Vec<Fault> {
    match PayloadSchema::compile(schema) {
        Err(SchemaError::Invalid(faults)) => faults,
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

/// The places of what is wrong, as pointers.
fn places(faults: &[Fault]) -> Vec<String> {
    faults.iter().map(|fault| fault.steps.iter().fold(String::new(), |path, step| path + "/" + step)).collect()
}

fn schema(value: &Value) -> PayloadSchema {
    PayloadSchema::compile(&value.to_string()).unwrap_or_else(|error| panic!("{value}: {error:?}"))
}

fn allows(schema: &str, payload: &str) -> bool {
    PayloadSchema::compile(schema).unwrap_or_else(|error| panic!("{schema}: {error:?}")).check(payload).is_ok()
}

#[test]
fn a_violation_says_where_and_what_the_schema_wants() {
    let schema = schema(&json!({
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": true,
            "items": { "type": "array", "items": { "properties": { "price": { "type": "number", "minimum": 0 } } } },
            "a/b~c": { "type": "string" },
        },
        "additionalProperties": false,
    }));
    let found = schema
        .check(r#"{"items":[{"price":1},{"price":-5},{"price":"secret"}],"a/b~c":1,"more":2}"#)
        .expect_err("five are wrong");
    let mut told: Vec<_> = places(&found).into_iter().zip(found.iter().map(|fault| fault.message.as_str())).collect();
    told.sort_unstable();
    let expected = [
        ("", r#"is refused: "id" is a required property (`/required` of the schema)"#),
        (
            "",
            "is refused: Additional properties are not allowed ('more' was unexpected) (`/additionalProperties` of the schema)",
        ),
        ("/a/b~c", r#"is not of type "string" (`/properties/a~1b~0c/type` of the schema)"#),
        (
            "/items/1/price",
            "is less than the minimum of 0 (`/properties/items/items/properties/price/minimum` of the schema)",
        ),
        (
            "/items/2/price",
            r#"is not of type "number" (`/properties/items/items/properties/price/type` of the schema)"#,
        ),
    ];
    assert_eq!(told, expected.map(|(place, message)| (place.to_owned(), message)));
    assert!(!format!("{found:?}").contains("secret"));
    assert!(schema.check(r#"{"id":1,"items":[]}"#).is_ok());
}

#[test]
fn numbers_are_compared_with_every_digit() {
    let integer = r#"{"type":"integer"}"#;
    for (number, is_integer) in [
        ("1.0", true),
        ("-0", true),
        ("1.5", false),
        ("9223372036854775808", true),
        ("12345678901234567890123", true),
        ("12345678901234567890123.0", true),
        ("12345678901234567890123.5", false),
        ("1e400", true),
        ("1e-1", false),
    ] {
        assert_eq!(allows(integer, number), is_integer, "{number}");
        assert!(allows(r#"{"type":"number"}"#, number), "{number}");
    }
    for (schema, right, wrong) in [
        (r#"{"minimum":9223372036854775808}"#, "9223372036854775808", "9223372036854775807"),
        (r#"{"minimum":12345678901234567890123}"#, "12345678901234567890123", "12345678901234567890122"),
        (r#"{"maximum":12345678901234567890123}"#, "1.0", "1e400"),
        (r#"{"exclusiveMaximum":1e400}"#, "1e399", "1e400"),
        (r#"{"minimum":0}"#, "1e400", "-1e400"),
        (r#"{"multipleOf":0.01}"#, "19.99", "19.999"),
        (r#"{"multipleOf":3}"#, "12345678901234567890123", "12345678901234567890124"),
        (r#"{"multipleOf":9223372036854775808}"#, "18446744073709551616", "9223372036854775809"),
        (r#"{"const":1}"#, "1.0", "1.0000000000000000000001"),
        (r#"{"enum":[12345678901234567890123]}"#, "12345678901234567890123", "12345678901234567890124"),
    ] {
        assert!(allows(schema, right), "{schema} {right}");
        assert!(!allows(schema, wrong), "{schema} {wrong}");
    }
}

#[test]
fn a_number_of_endless_size_costs_nothing() {
    let started = Instant::now();
    for schema in [r#"{"multipleOf":0.01}"#, r#"{"type":"integer","minimum":3}"#, r#"{"const":7}"#] {
        for number in ["1e1000000000", "-1e-1000000000", &"9".repeat(100_000), &format!("0.{}1", "0".repeat(100_000))] {
            let _ = PayloadSchema::compile(schema).expect("valid").check(number);
            let _ = PayloadSchema::compile(&format!(r#"{{"minimum":{}}}"#, &number[..number.len().min(1_000)]));
        }
    }
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn a_schema_that_is_none_is_refused_where_it_is_wrong() {
    for (schema, place) in [
        (r#"{"type":"strin"}"#, "/type"),
        (r#"{"properties":{"a":{"minimum":"1"}}}"#, "/properties/a/minimum"),
        (r#"{"items":[{}]}"#, "/items"),
        (r#"{"required":"a"}"#, "/required"),
        (r"[]", ""),
        (r#""text""#, ""),
    ] {
        assert!(places(&faults(schema)).contains(&place.to_owned()), "{schema}: {:?}", faults(schema));
    }
    assert!(faults("true").is_empty() && faults("{}").is_empty());
}

#[test]
fn a_reference_never_leads_out_of_the_schema() {
    for (schema, place) in [
        (r#"{"$ref":"https://example.com/a.json"}"#, "/$ref"),
        (r#"{"$ref":"http://169.254.169.254/latest"}"#, "/$ref"),
        (r#"{"$ref":"file:///etc/passwd"}"#, "/$ref"),
        (r#"{"$ref":"other.json#/a"}"#, "/$ref"),
        (r#"{"$ref":"//example.com/a"}"#, "/$ref"),
        (r#"{"$ref":"https://json-schema.org/draft/2020-12/schema"}"#, "/$ref"),
        (r#"{"$dynamicRef":"https://example.com#a"}"#, "/$dynamicRef"),
        (r#"{"$schema":"http://json-schema.org/draft-07/schema#"}"#, "/$schema"),
        (r#"{"$schema":"https://example.com/dialect"}"#, "/$schema"),
        (r#"{"properties":{"a":{"$schema":"http://json-schema.org/draft-04/schema#"}}}"#, "/properties/a/$schema"),
        (r#"{"$defs":{"a":{"$id":"https://example.com/a"}},"$ref":"https://example.com/a"}"#, "/$defs/a/$id"),
        (r#"{"$id":"https://example.com/s","$ref":"a.json"}"#, "/$ref"),
        (r##"{"$ref":"#/$defs/gone"}"##, "/$ref"),
        (r##"{"$ref":"#gone"}"##, "/$ref"),
        (r##"{"$ref":"#/x/y","x":{"y":{}}}"##, "/$ref"),
        (r##"{"$recursiveRef":"#"}"##, "/$recursiveRef"),
    ] {
        assert!(places(&faults(schema)).contains(&place.to_owned()), "{schema}: {:?}", faults(schema));
    }
}

#[test]
fn references_within_the_schema_are_followed() {
    let by_pointer = r##"{"$id":"https://example.com/s","$schema":"https://json-schema.org/draft/2020-12/schema",
        "$defs":{"a/b":{"type":"string"}},"properties":{"x":{"$ref":"#/$defs/a~1b"},"y":{"$ref":"#/%24defs/a~1b"}}}"##;
    let by_anchor = r##"{"$defs":{"n":{"$anchor":"name","type":"string"}},"properties":{"x":{"$ref":"#name"}}}"##;
    let dynamic = r##"{"$dynamicAnchor":"node","type":"object","additionalProperties":{"$dynamicRef":"#node"}}"##;
    assert!(allows(by_pointer, r#"{"x":"a","y":"b"}"#) && !allows(by_pointer, r#"{"y":1}"#));
    assert!(allows(by_anchor, r#"{"x":"a"}"#) && !allows(by_anchor, r#"{"x":1}"#));
    assert!(allows(dynamic, r#"{"a":{"b":{}}}"#) && !allows(dynamic, r#"{"a":{"b":1}}"#));
}

#[test]
fn formats_are_told_and_not_checked() {
    assert!(allows(r#"{"format":"email"}"#, r#""nobody""#));
    assert!(allows(r#"{"contentEncoding":"base64","contentMediaType":"application/json"}"#, r#""?""#));
}

#[test]
fn a_pattern_that_is_not_linear_is_refused() {
    for (pattern, is_right) in [
        ("^[a-z]{1,64}$", true),
        ("^\\d{4}-\\d{2}-\\d{2}$", true),
        ("^\\p{L}+$", true),
        ("(?=a)b", false),
        ("(a)\\1", false),
        ("a{1000}{1000}", false),
        ("[", false),
    ] {
        let found = faults(&json!({ "properties": { "x": { "pattern": pattern } } }).to_string());
        let expected: &[&str] = if is_right { &[] } else { &["/properties/x/pattern"] };
        assert_eq!(places(&found), expected, "{pattern}: {found:?}");
    }
    let name = json!({ "patternProperties": { "(?!x)": {} } }).to_string();
    assert_eq!(places(&faults(&name)), ["/patternProperties/(?!x)"]);
    let hostile = schema(&json!({ "pattern": "^(a+)+$" }));
    let started = Instant::now();
    assert!(hostile.check(&json!(format!("{}b", "a".repeat(100_000))).to_string()).is_err());
    assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
}

#[test]
fn a_schema_has_bounds() {
    let many: Map<String, Value> = (0..1_100).map(|n| (n.to_string(), json!({}))).collect();
    let patterns: Map<String, Value> = (0..70).map(|n| (n.to_string(), json!({ "pattern": "a" }))).collect();
    let deep = (0..40).fold(json!({}), |inner, _| json!({ "items": { "items": inner } }));
    for (what, schema) in [
        ("1000 schemas", json!({ "properties": many })),
        ("64 patterns", json!({ "properties": patterns })),
        ("32 levels", deep),
        ("larger than", json!({ "description": "x".repeat(SCHEMA_BYTES_MAX) })),
    ] {
        let found = faults(&schema.to_string());
        assert!(found.iter().any(|fault| fault.message.contains(what)), "{what}: {found:?}");
    }
    for endless in [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "anyOf": [{ "$ref": "#" }] }] }),
        json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "not": { "$ref": "#/$defs/a" } } }, "$ref": "#/$defs/a" }),
        json!({ "$dynamicAnchor": "a", "if": { "$dynamicRef": "#a" } }),
    ] {
        assert!(faults(&endless.to_string()).iter().any(|fault| fault.message.contains("would not end")), "{endless}");
    }
}

/// Alternatives that lead back to the whole, so that each level of a payload doubles the work, or would.
fn blowing_up() -> Vec<(&'static str, Value)> {
    let step = |n: usize| json!({ "properties": { "a": { "$ref": "#" } }, "minProperties": n });
    vec![
        ("anyOf", json!({ "anyOf": [step(9), step(9), { "type": "string" }] })),
        ("oneOf", json!({ "oneOf": [step(0), step(0), step(0)] })),
        ("allOf", json!({ "allOf": [step(0), step(0)] })),
        ("not", json!({ "not": { "not": step(0) }, "if": step(0), "then": step(0), "else": step(1) })),
        ("unevaluated", json!({ "anyOf": [step(0), step(0)], "unevaluatedProperties": false })),
        (
            "dynamic",
            json!({ "$dynamicAnchor": "n", "anyOf": [
                { "properties": { "a": { "$dynamicRef": "#n" } }, "minProperties": 2 },
                { "properties": { "a": { "$dynamicRef": "#n" } }, "minProperties": 3 } ] }),
        ),
    ]
}

#[test]
fn alternatives_that_multiply_are_cut_short() {
    let nested = (0..120).fold("1".to_owned(), |inner, _| format!(r#"{{"a":{inner}}}"#));
    for (name, hostile) in blowing_up() {
        let schema = schema(&hostile);
        let started = Instant::now();
        let answer = schema.check(&nested);
        println!("{name}: {:?} {:?}", started.elapsed(), answer.map_err(|faults| faults[0].message.clone()));
        assert!(started.elapsed().as_millis() < 2_000, "{name}: {:?}", started.elapsed());
    }
}

#[test]
fn references_that_multiply_are_refused() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let next = |n: usize| json!({ "$ref": format!("#/$defs/{}", n + 1) });
        let mut parts: Map<String, Value> =
            (0..40).map(|n| (n.to_string(), json!({ keyword: [next(n), next(n)] }))).collect();
        parts.insert("40".to_owned(), json!({ "type": "string" }));
        let started = Instant::now();
        let found = faults(&json!({ "$defs": parts, "$ref": "#/$defs/0" }).to_string());
        assert!(found[0].message.contains("references multiply"), "{found:?}");
        assert!(started.elapsed().as_secs() < 3, "{keyword}: {:?}", started.elapsed());
    }
}

#[test]
fn a_chain_of_references_as_long_as_may_be_takes_no_more_stack_than_there_is() {
    for wrap in [|next: Value| json!({ "items": next }), |next: Value| json!({ "allOf": [next] }), |next: Value| next] {
        let mut parts: Map<String, Value> =
            (0..320).map(|n| (n.to_string(), wrap(json!({ "$ref": format!("#/$defs/{}", n + 1) })))).collect();
        parts.insert("320".to_owned(), json!({ "type": "string" }));
        let schema = schema(&json!({ "$defs": parts, "$ref": "#/$defs/0" }));
        let nested = format!("{}{}", "[".repeat(120), "]".repeat(120));
        let answer = schema.check(&nested);
        println!("{:?}", answer.map_err(|faults| faults[0].message.clone()));
        drop(schema);
    }
}

#[test]
fn an_honest_large_payload_has_fuel_enough() {
    let node = json!({ "type": "object", "required": ["sku", "price"], "properties": {
        "sku": { "type": "string", "pattern": "^[A-Z]{3}-[0-9]+$", "maxLength": 32 },
        "price": { "type": "number", "minimum": 0, "multipleOf": 0.01 },
        "tags": { "type": "array", "items": { "enum": ["a", "b", "c"] }, "uniqueItems": true },
        "parts": { "type": "array", "items": { "$ref": "#/$defs/node" } } },
        "additionalProperties": false });
    let schema = schema(&json!({ "$defs": { "node": node }, "type": "array", "items": { "$ref": "#/$defs/node" } }));
    let entry = r#"{"sku":"ABC-1","price":19.99,"tags":["a","b"],"parts":[{"sku":"DEF-2","price":1}]}"#;
    let payload = format!("[{}]", vec![entry; 256 * 1024 / (entry.len() + 1)].join(","));
    let started = Instant::now();
    assert_eq!(schema.check(&payload), Ok(()));
    println!("{} bytes in {:?}", payload.len(), started.elapsed());
    let wrong = payload.replace("19.99", "19.999");
    let started = Instant::now();
    assert!(!schema.check(&wrong).expect_err("all are wrong").is_empty());
    println!("wrong in {:?}", started.elapsed());
    assert!(started.elapsed().as_secs() < 3);
}

#[test]
fn a_hostile_payload_of_full_size_ends_soon() {
    let wide = format!("[{}]", vec!["0"; 128 * 1024].join(","));
    let text = json!("ab".repeat(128 * 1024)).to_string();
    let many: Vec<Value> = (0..900).map(|n| json!({ "uniqueItems": true, "maxItems": n })).collect();
    let patterns: Vec<Value> = (0..60).map(|n| json!({ "pattern": format!("[ab]*a[ab]{{{}}}c", 100 + n) })).collect();
    for (what, schema, payload) in [
        ("items", json!({ "items": { "allOf": vec![json!({ "type": "string" }); 900] } }), &wide),
        ("unique", json!({ "allOf": many }), &wide),
        ("patterns", json!({ "allOf": patterns }), &text),
        ("contains", json!({ "contains": { "anyOf": vec![json!({ "const": [1] }); 900] } }), &wide),
    ] {
        let compiled = PayloadSchema::compile(&schema.to_string()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let started = Instant::now();
        let answer = compiled.check(payload);
        println!("{what}: {:?} {:?}", started.elapsed(), answer.map_err(|faults| faults[0].message.clone()));
        assert!(started.elapsed().as_secs() < 8, "{what}: {:?}", started.elapsed());
    }
}
