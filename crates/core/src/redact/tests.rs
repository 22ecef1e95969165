//! Secrets are hidden in every form.

use proptest::prelude::*;

use super::*;

fn of_header(value: &str, answer: &str) -> String {
    Redactor::new([value.as_bytes()], []).hide_text(answer)
}

fn of_text(value: &str, answer: &str) -> String {
    Redactor::new([], [value.as_bytes()]).hide_text(answer)
}

#[test]
fn the_words_of_a_header_are_hidden_and_the_scheme_before_them_is_not() {
    for (value, answer, expected) in [
        (
            "Bearer canary-7f3a",
            "invalid token canary-7f3a",
            "invalid token ***",
        ),
        ("Bearer canary-7f3a", "no Bearer token", "no Bearer token"),
        (
            "Bearer canary-7f3a",
            "got 'Bearer canary-7f3a'",
            "got '***'",
        ),
        ("one-half other-half", "other-half, one-half", "***, ***"),
        (
            "session=canary; theme=\"night\"",
            "no session canary at night",
            "no session *** at ***",
        ),
        (
            "Token token=\"canary==\"",
            "token canary is wrong, canary==",
            "token *** is wrong, ***",
        ),
        (
            "Basic dXNlcjpjYW5hcnk=",
            "user has no password canary, user:canary",
            "user has no password ***, ***",
        ),
        ("abc", "abc", "abc"),
        ("canary", "Canary", "Canary"),
    ] {
        assert_eq!(of_header(value, answer), expected, "{value}");
    }
}

#[test]
fn a_secret_is_hidden_however_it_is_escaped() {
    let value = r#"a/b"c\d%41é&+1"#;
    for answer in [
        value,
        r#"a\/b\"c\\d%41é&+1"#,
        r#"\u0061\u002Fb\u0022c\u005cd\u002541\u00e9\u0026\u002b1"#,
        "a%2Fb%22c%5Cd%2541%C3%A9%26%2b1",
        "a%2fb%22c%5cd%2541%c3%a9&+1",
        "a&#x2F;b&quot;c\\d%41&#233;&amp;&#43;1",
        // Nested: JSON in JSON, a URL in JSON, JSON in a form.
        r#"a\\\/b\\\"c\\\\d%41é&+1"#,
        r#"\u0061%2Fb%22c%5Cd%2541%C3%A9%26%2b1"#,
        "a%5C%2Fb%5C%22c%5C%5Cd%2541%C3%A9%26%2B1",
    ] {
        assert_eq!(of_text(value, &format!("<{answer}>")), "<***>", "{answer}");
    }
    for (value, answers) in [
        (
            "can%2Fary",
            &["can/ary", "can%2fary", "can\\/ary", "can%252Fary"][..],
        ),
        ("can%20ary", &["can ary", "can+ary", "can%20ary"]),
        ("can+ary", &["can ary", "can+ary", "can%2Bary", "can%20ary"]),
        (
            "can\u{1f600}ary",
            &[
                "can\\ud83d\\ude00ary",
                "can\\uD83D\\uDE00ary",
                "can%F0%9F%98%80ary",
            ],
        ),
    ] {
        for answer in answers {
            assert_eq!(of_text(value, &format!("<{answer}>")), "<***>", "{answer}");
        }
    }
}

#[test]
fn base64_of_a_secret_is_hidden_wherever_in_a_text_it_begins() {
    let secret = "canary?7f3a~~";
    for before in ["", "x", "xy", "authorization: "] {
        let whole = format!("{before}{secret} and more");
        let text = STANDARD.encode(&whole);
        for text in [text.clone(), text.replace('+', "-").replace('/', "_")] {
            let shown = of_header(&format!("Bearer {secret}"), &text);
            assert!(shown.contains(HIDDEN), "{text}: {shown}");
            // The characters at its ends hold two or three bits of it.
            let left: Vec<&str> = shown.trim_end_matches('=').split(HIDDEN).collect();
            let bytes = (left[0].len() * 6 / 8, left[1].len() * 6 / 8);
            assert!(
                bytes.0 <= before.len() + 1 && bytes.1 <= " and more".len() + 1,
                "{shown}"
            );
        }
    }
}

#[test]
fn the_digits_of_a_secret_are_hidden() {
    for digits in ["63616e6172792d37663361", "63616E6172792D37663361"] {
        let answer = format!("key={digits}, ok");
        assert_eq!(of_header("Bearer canary-7f3a", &answer), "key=***, ok");
    }
}

#[test]
fn an_answer_that_was_cut_ends_before_the_beginning_of_a_secret() {
    let redactor = Redactor::new([&b"Bearer 12/345678"[..]], []);
    for (answer, expected) in [
        ("xx 12/3", "xx "),
        ("xx 1", "xx "),
        ("xx Bearer 1", "xx "),
        ("xx 12/345678", "xx ***"),
        (r"xx 12\/34", "xx "),
        (r"xx 12\", "xx "),
        (r"xx \u0031\u003", "xx "),
        ("xx 12%2", "xx "),
        ("xx 12&#4", "xx "),
        ("xx 2/9", "xx 2/9"),
    ] {
        let kept = redactor.hide(answer.as_bytes(), false);
        assert_eq!(String::from_utf8_lossy(&kept), expected, "{answer}");
        let whole = redactor.hide_text(answer);
        assert!(answer.ends_with("12/345678") || whole == answer, "{whole}");
    }
}

#[test]
fn answers_built_to_be_slow_to_search_are_not_slow() {
    let secret = "a".repeat(4096);
    let redactor = Redactor::new([secret.as_bytes()], []);
    let answer = "a".repeat(16 << 10);
    assert_eq!(redactor.hide_text(&answer), HIDDEN);
    let answer = "\\\\".repeat(8 << 10);
    assert_eq!(redactor.hide_text(&answer), answer);
}

/// A character in one of the ways in which answers write it.
fn written(c: char, way: u8) -> String {
    let bytes = c.to_string().into_bytes();
    match way % 5 {
        0 => {
            let units = c.encode_utf16(&mut [0; 2]).to_vec();
            units.iter().map(|unit| format!("\\u{unit:04x}")).collect()
        }
        1 => bytes.iter().map(|byte| format!("%{byte:02X}")).collect(),
        2 => format!("&#{};", u32::from(c)),
        3 if matches!(c, '"' | '\\' | '/') => format!("\\{c}"),
        _ if matches!(c, '"' | '\\' | '%' | '&') => format!("\\u{:04X}", u32::from(c)),
        _ => c.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever way its characters are written in, twice over, a secret is hidden, and so is its beginning at a cut.
    #[test]
    fn no_way_of_writing_lets_a_secret_through(
        secret in "[!-~é€😀]{4,40}",
        ways in prop::collection::vec(any::<u8>(), 1..50),
        twice in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let write = |text: &str| -> String {
            text.chars().zip(ways.iter().cycle()).map(|(c, way)| written(c, *way)).collect()
        };
        let mut echo = write(&secret);
        if twice {
            echo = write(&echo);
        }
        let redactor = Redactor::new([], [secret.as_bytes()]);
        let answer = format!("\u{1}{echo}\u{1}");
        prop_assert_eq!(redactor.hide_text(&answer), "\u{1}***\u{1}");
        let cut = 1 + cut.index(echo.len());
        let kept = redactor.hide(&answer.as_bytes()[..cut], false);
        prop_assert!(kept == b"\x01" || kept == b"\x01***", "{:?}", String::from_utf8_lossy(&kept));
    }
}
