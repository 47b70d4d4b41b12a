//! `/`: the page, one file without anything from elsewhere.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{Html, IntoResponse},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

const PAGE: &str = include_str!("page.html");

/// Only the page's own style and script run, and it talks to nobody else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |element: &str| {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let inner = PAGE
            .split_once(&open)
            .and_then(|(_, rest)| rest.split_once(&close));
        let digest = Sha256::digest(inner.map_or("", |(inner, _)| inner).as_bytes());
        format!("'sha256-{}'", STANDARD.encode(digest))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
});

pub(super) async fn page() -> impl IntoResponse {
    (
        [(header::CONTENT_SECURITY_POLICY, POLICY.as_str())],
        Html(PAGE),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_nobody_else_for_anything() {
        assert!(!PAGE.contains("http://") && !PAGE.contains("https://") && !PAGE.contains("src="));
        assert!(
            !PAGE.contains("style=") && !PAGE.contains("onclick="),
            "the policy forbids them"
        );
        assert_eq!(PAGE.matches("<script>").count(), 1);
        assert_eq!(PAGE.matches("<style>").count(), 1);
        assert_eq!(POLICY.matches("sha256-").count(), 2);
    }
}
