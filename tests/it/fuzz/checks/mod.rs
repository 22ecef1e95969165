//! What holds for any bytes from outside: each check takes them and panics where something does not. The tests beside this
//! folder and the targets in `fuzz/` call the same ones.

mod answer;
mod configuration;
mod event_answer;
mod mfa;
mod retry_after;
mod script;
mod signing_key;

/// A check by its name, which is also the folder of its corpus and the name of its target.
pub(crate) type Check = (&'static str, fn(&[u8]));

/// Every check.
pub(crate) const ALL: [Check; 7] = [
    ("answer", answer::check),
    ("configuration", configuration::check),
    ("event_answer", event_answer::check),
    ("mfa", mfa::check),
    ("retry_after", retry_after::check),
    ("script", script::check),
    ("signing_key", signing_key::check),
];

/// Whether a text is a part of one of these messages, whatever their numbers are. It is no secret then.
fn is_said(text: &str, messages: &[String]) -> bool {
    let plain = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "0");
    let text = plain(text);
    messages
        .iter()
        .any(|message| plain(message).contains(&text))
}

/// Runs the check of this name.
///
/// # Panics
/// When there is none, or it does not hold.
pub(crate) fn run(name: &str, bytes: &[u8]) {
    let check = ALL.iter().find(|(known, _)| *known == name);
    let (_, check) = check.unwrap_or_else(|| panic!("there is no check {name}"));
    check(bytes);
}
