//! The page of the inbox. It runs no script: the browser loads it again every two seconds.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Received;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="2">
<title>Angarium inbox</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  h1 { font-size: 1.25rem; }
  article { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); padding: 1rem 0; }
  pre { overflow-x: auto; margin: .5rem 0 0; font-size: .875rem; white-space: pre-wrap; overflow-wrap: anywhere; }
  .verified { color: light-dark(#15692b, #6fd08c); }
  .unverified { color: light-dark(#a3161d, #ff8f8f); }
  small { opacity: .75; }
</style>
</head>
<body>
<h1>Inbox</h1>
"#;

/// Everything that is kept, the newest first. While there is nothing, `advice` says in HTML what to do about it.
pub(super) fn render(kept: &[Arc<Received>], advice: &str) -> String {
    let mut page = String::from(HEAD);
    if kept.is_empty() {
        writeln!(page, "<p>Nothing has arrived yet. {advice}</p>").expect("a String takes every write");
    }
    for received in kept {
        article(&mut page, received).expect("a String takes every write");
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn article(page: &mut String, received: &Received) -> std::fmt::Result {
    let (class, word) =
        if received.verified { ("verified", "✓ verified") } else { ("unverified", "✗ not verified") };
    let text = |text: &Option<String>| escaped(text.as_deref().unwrap_or("–"));
    writeln!(page, "<article>")?;
    writeln!(page, "<strong>{}</strong> <span class=\"{class}\">{word}</span>", text(&received.event_type))?;
    writeln!(
        page,
        "<small>{} · {} · {} · answered {}</small>",
        escaped(&received.at),
        escaped(&received.path),
        text(&received.webhook_id),
        received.status,
    )?;
    writeln!(page, "<pre>{}</pre>", escaped(&pretty(&received.body)))?;
    writeln!(page, "</article>")
}

/// JSON on several lines; anything else as it is.
fn pretty(body: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(body);
    value.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_else(|_| body.to_owned())
}

/// `text` for HTML, between tags or in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_arrives_can_leave_its_place() {
        let evil = "<script>alert('x')</script>\"&";
        let received = Received {
            at: evil.to_owned(),
            path: evil.to_owned(),
            webhook_id: Some(evil.to_owned()),
            timestamp: None,
            event_type: Some(evil.to_owned()),
            verified: true,
            status: 204,
            body: evil.to_owned(),
            headers: vec![],
        };
        let page = render(&[Arc::new(received)], "");
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(&#39;x&#39;)"), "{page}");
        assert!(render(&[], "Wait.").contains("Nothing has arrived yet. Wait."));
    }
}
