//! Floor 7: the page on which a phone checks a coupon or receipt by itself.
//!
//! In scope: serving one small page and its scripts at `/V` and `/v` (formats,
//! section 3, 'QR text'). Out of scope: any judgement. The node never sees the
//! code: it stands after `#`, and the page's scripts decode and verify it in
//! the browser, against what the node publishes for everyone.

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::http::header::{self, ETag, EntityTag, IfNoneMatch};
use actix_web::web::{Header, Path, ServiceConfig, resource};
use actix_web::{HttpResponse, HttpResponseBuilder, Resource, guard};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::primitives::limits;

/// What the page may load and do: its own scripts and styles, requests to its
/// own origin, nothing else; nobody may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file of the page, with the tag that names its content.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
    tag: EntityTag,
}

static PAGE: LazyLock<Asset> = LazyLock::new(|| asset("/v", HTML, include_str!("verify.html")));

static ASSETS: LazyLock<[Asset; 9]> = LazyLock::new(|| {
    [
        asset("/web/verify.css", CSS, include_str!("verify.css")),
        asset("/web/icon.svg", SVG, include_str!("icon.svg")),
        asset("/web/page.js", JAVASCRIPT, include_str!("verify/page.js")),
        asset("/web/verify.js", JAVASCRIPT, include_str!("verify/verify.js")),
        asset(
            "/web/credential.js",
            JAVASCRIPT,
            include_str!("verify/credential.js"),
        ),
        asset("/web/cbor.js", JAVASCRIPT, include_str!("verify/cbor.js")),
        asset("/web/ed25519.js", JAVASCRIPT, include_str!("verify/ed25519.js")),
        asset("/web/money.js", JAVASCRIPT, include_str!("verify/money.js")),
        asset("/web/qr.js", JAVASCRIPT, include_str!("verify/qr.js")),
    ]
});

/// Adds the page at `/V` and `/v`, and what it loads below `/web/`. Needs no
/// application data. The page itself asks its own origin for
/// `/.well-known/did.json`, `/v1/campaigns/{id}` and `/s/{n}`.
pub fn configure(config: &mut ServiceConfig) {
    for path in ["/V", "/v"] {
        config.service(served(path, &PAGE));
    }
    for asset in ASSETS.iter() {
        config.service(served(asset.path, asset));
    }
    // A scanner that writes `#` as `%23` asks the server for the code: it is
    // sent back to where the code stays in the browser.
    let escaped = format!(
        "/{{v:[Vv]}}{{mark:(?:#|%23)}}{{digits:[0-9]{{1,{}}}}}",
        limits::QR_DIGITS_MAX
    );
    config.service(resource(escaped).guard(readable()).to(back_to_fragment));
}

/// The paths of what the page loads, each with its media type.
pub fn files() -> impl Iterator<Item = (&'static str, &'static str)> {
    ASSETS.iter().map(|asset| (asset.path, asset.content_type))
}

fn asset(path: &'static str, content_type: &'static str, body: &'static str) -> Asset {
    let digest = Sha256::digest(body);
    Asset {
        path,
        content_type,
        body,
        tag: EntityTag::new_strong(HEXLOWER.encode(&digest[..16])),
    }
}

fn served(path: &'static str, asset: &'static Asset) -> Resource {
    resource(path)
        .guard(readable())
        .to(async move |if_none_match: Header<IfNoneMatch>| answer(asset, &if_none_match))
}

/// On the resource and not on its route: other methods fall through to where
/// everything that is not served gets its answer.
fn readable() -> impl guard::Guard {
    guard::Any(guard::Get()).or(guard::Method(Method::HEAD))
}

fn answer(asset: &Asset, known: &IfNoneMatch) -> HttpResponse {
    let fresh = match known {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|tag| tag.weak_eq(&asset.tag)),
    };
    let mut response = if fresh {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    protect(&mut response)
        // Scripts of two versions must not mix after an upgrade: browsers keep
        // the files, and ask each time whether they still hold.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header(ETag(asset.tag.clone()));
    if fresh {
        response.finish()
    } else {
        response.content_type(asset.content_type).body(asset.body)
    }
}

async fn back_to_fragment(path: Path<(String, String, String)>) -> HttpResponse {
    let (page, _, digits) = path.into_inner();
    protect(&mut HttpResponse::Found())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::LOCATION, format!("/{page}#{digits}")))
        .finish()
}

fn protect(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        // The address holds a coupon: it goes to nobody.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
        (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ];
    for named in headers {
        response.insert_header(named);
    }
    response
}

#[cfg(test)]
mod tests {
    use actix_web::App;
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    use super::*;
    use crate::primitives::Currency;

    #[actix_web::test]
    async fn the_page_and_all_that_it_names_are_served_and_guarded() {
        let app = init_service(App::new().configure(configure)).await;
        let named = PAGE.body.split('"').filter(|part| part.starts_with("/web/"));
        for path in ["/V", "/v"].into_iter().chain(named) {
            let response = call_service(&app, TestRequest::get().uri(path).to_request()).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            for (name, value) in [
                (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
                (header::REFERRER_POLICY, "no-referrer"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ] {
                assert_eq!(response.headers().get(name).unwrap(), value, "{path}");
            }
            assert!(!read_body(response).await.is_empty(), "{path}");
        }
    }

    #[actix_web::test]
    async fn a_browser_that_has_the_file_gets_no_body() {
        let app = init_service(App::new().configure(configure)).await;
        let first = call_service(&app, TestRequest::get().uri("/web/page.js").to_request()).await;
        let tag = first.headers().get(header::ETAG).unwrap().clone();
        let again = TestRequest::get()
            .uri("/web/page.js")
            .insert_header((header::IF_NONE_MATCH, tag));
        let second = call_service(&app, again.to_request()).await;
        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
        assert!(read_body(second).await.is_empty());
    }

    #[actix_web::test]
    async fn an_escaped_mark_leads_back_to_the_fragment() {
        let app = init_service(App::new().configure(configure)).await;
        for (path, status, location) in [
            ("/V%23123", StatusCode::FOUND, Some("/V#123")),
            ("/v%23123", StatusCode::FOUND, Some("/v#123")),
            ("/v%23", StatusCode::NOT_FOUND, None),
            ("/v%2312a", StatusCode::NOT_FOUND, None),
            ("/v123", StatusCode::NOT_FOUND, None),
        ] {
            let response = call_service(&app, TestRequest::get().uri(path).to_request()).await;
            assert_eq!(response.status(), status, "{path}");
            let sent = response
                .headers()
                .get(header::LOCATION)
                .map(|to| to.to_str().unwrap());
            assert_eq!(sent, location, "{path}");
        }
    }

    #[test]
    fn scripts_load_only_what_is_served_beside_them() {
        for asset in ASSETS.iter().filter(|asset| asset.content_type == JAVASCRIPT) {
            for line in asset.body.lines().filter(|line| line.starts_with("import ")) {
                let from = line.split('"').nth(1).unwrap();
                let path = from.replacen("./", "/web/", 1);
                assert!(ASSETS.iter().any(|other| other.path == path), "{from}");
            }
        }
    }

    #[test]
    fn the_page_knows_the_currencies_that_the_node_knows() {
        let known: Vec<String> = (0..1000)
            .filter_map(|number| Currency::from_number(number).ok())
            .map(|known| format!("{:03}{}{}", known.number(), known.letters(), known.exponent()))
            .collect();
        let script = include_str!("verify/money.js");
        let table = script.split('`').nth(1).unwrap();
        let listed: Vec<&str> = table.split_whitespace().collect();
        assert_eq!(listed, known, "\n{}", known.join(" "));
    }
}
