//! The style, the script and the icon: parts of the program, with their hash in the name, so that a browser keeps them.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::core::text::push_hex;
use crate::status::refusal::Refusal;

const STYLE: &str = include_str!("style.css");

const SCRIPT: &str = include_str!("script.js");

const ICON: &str = include_str!("icon.svg");

/// The folder of all of them, which needs no token.
pub(in crate::status) const FOLDER: &str = "/dashboard/assets/";

/// Bytes of the hash in a name.
const HASH_BYTES: usize = 8;

/// Name, type and content.
type Asset = (String, &'static str, &'static str);

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let named = |stem: &str, end: &str, content: &str| {
        let mut name = format!("{stem}-");
        push_hex(&mut name, &Sha256::digest(content)[..HASH_BYTES]);
        format!("{name}.{end}")
    };
    [
        (
            named("style", "css", STYLE),
            "text/css; charset=utf-8",
            STYLE,
        ),
        (
            named("script", "js", SCRIPT),
            "text/javascript; charset=utf-8",
            SCRIPT,
        ),
        (named("icon", "svg", ICON), "image/svg+xml", ICON),
    ]
});

pub(super) fn style_path() -> String {
    format!("{FOLDER}{}", ASSETS[0].0)
}

pub(super) fn script_path() -> String {
    format!("{FOLDER}{}", ASSETS[1].0)
}

pub(super) fn icon_path() -> String {
    format!("{FOLDER}{}", ASSETS[2].0)
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let Some((_, kind, content)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        return Refusal::new(StatusCode::NOT_FOUND, "There is no such file here.").into_response();
    };
    let mut response = ([(header::CONTENT_TYPE, *kind)], *content).into_response();
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, forever);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_small_and_names_change_with_the_content() {
        // docs/dashboard.md says how large it is.
        assert!(SCRIPT.len() <= 7 << 10, "{}", SCRIPT.len());
        assert!(
            style_path().starts_with("/dashboard/assets/style-") && style_path().ends_with(".css")
        );
        let mut hash = String::new();
        push_hex(&mut hash, &Sha256::digest(STYLE)[..HASH_BYTES]);
        assert!(style_path().contains(&hash), "{}", style_path());
        assert!(!script_path().contains(&hash));
    }
}
