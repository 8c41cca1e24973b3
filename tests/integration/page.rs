//! The verification page in a real browser: Debian's headless Chromium, driven
//! over WebDriver. Skipped with a word where Chromium or its driver is missing.

// Helpers of a test may fail as the test does; the lint looks at #[test] only.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::{App, HttpResponse, HttpServer, web};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_cbor::Value;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use tallystick::encoding::cbor::{bytes, encode, int, map, text};

/// How long the page may take for one code.
const PAGE_DEADLINE: Duration = Duration::from_secs(30);

/// Opens the page at `base_url` with each text after `#` in turn, and asserts
/// the state that it ends in. The browser, for more; `None`, with nothing
/// asserted and a printed word, where there is none.
pub fn expect_states(base_url: &str, cases: &[(&str, String, &str)]) -> Option<Browser> {
    let browser = Browser::start()?;
    for (name, hash, expected) in cases {
        let state = browser.state_of(&format!("{base_url}/V#{hash}"));
        assert_eq!(state, *expected, "{name}: {}", browser.page_text());
    }
    Some(browser)
}

/// A headless Chromium behind its driver; both end when it is dropped.
pub struct Browser {
    driver: Child,
    // Kept open: the driver would end on a closed pipe.
    _output: BufReader<ChildStdout>,
    client: reqwest::blocking::Client,
    session: String,
}

impl Browser {
    /// Starts the driver on a port that it chooses, and a browser; `None`, with
    /// a printed word, where either is not installed.
    pub fn start() -> Option<Self> {
        let (Some(chromium), Some(chromedriver)) = (in_path("chromium"), in_path("chromedriver")) else {
            println!("skipped: chromium or chromedriver is not installed");
            return None;
        };
        let mut driver = Command::new(chromedriver)
            .arg("--port=0")
            // Amounts and dates as one language and one zone write them.
            .env("LANGUAGE", "en_US")
            .env("TZ", "UTC")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(driver.stdout.take().unwrap());
        let port = port_in(&mut output);
        // The client is made with rustls inside, which wants a provider even
        // where nothing is encrypted; another test may have named it already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::blocking::Client::builder()
            .no_proxy()
            .timeout(PAGE_DEADLINE * 2)
            .build()
            .unwrap();
        let mut browser = Self {
            driver,
            _output: output,
            client,
            session: format!("http://127.0.0.1:{port}/session"),
        };
        let opened = browser.call(
            "",
            &json!({"capabilities": {"alwaysMatch": {
                "timeouts": {"script": u64::try_from(PAGE_DEADLINE.as_millis()).unwrap()},
                "goog:chromeOptions": {"binary": chromium, "args": [
                    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                ]},
            }}}),
        );
        let id = opened["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        Some(browser)
    }

    /// Opens `url` afresh and waits until the page has come to a state.
    pub fn state_of(&self, url: &str) -> String {
        // By way of a blank page: another fragment alone is no new page, and
        // the state before it could be taken for the one after it.
        for url in ["about:blank", url] {
            self.call("/url", &json!({ "url": url }));
        }
        let settled = "const done = arguments[0];
            const look = () => {
                const state = document.body.dataset.state;
                if (!['starting', 'checking'].includes(state)) done(state);
            };
            new MutationObserver(look).observe(document.body, { attributes: true });
            look();";
        let state = self.call("/execute/async", &json!({ "script": settled, "args": [] }));
        state.as_str().unwrap().to_owned()
    }

    /// The text of the whole page, as a person sees it.
    pub fn page_text(&self) -> String {
        let script = "return document.body.innerText";
        let text = self.call("/execute/sync", &json!({ "script": script, "args": [] }));
        text.as_str().unwrap().to_owned()
    }

    // One WebDriver command (W3C WebDriver, section 6).
    fn call(&self, path: &str, body: &Json) -> Json {
        let url = format!("{}{path}", self.session);
        let answer: Json = self.client.post(url).json(body).send().unwrap().json().unwrap();
        let value = answer["value"].clone();
        assert!(value.get("error").is_none(), "{path}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closing the session ends Chromium; without it only the driver would end.
        let _ = self.client.delete(&self.session).send();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

// The driver says 'ChromeDriver was started successfully on port 40123.'
fn port_in(output: &mut impl BufRead) -> u16 {
    let port = |line: String| {
        let (_, rest) = line.split_once("successfully on port ")?;
        rest.trim_end_matches('.').parse().ok()
    };
    output
        .lines()
        .map_while(Result::ok)
        .find_map(port)
        .expect("the driver says its port before it ends")
}

/// A key that signs credentials made by hand, apart from the library's own way
/// of making them.
struct Issuer(SigningKey);

impl Issuer {
    fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// A COSE_Sign1 of `claims`, and its Sig_structure.
    fn sign(&self, typ: &str, claims: &Value) -> (Vec<u8>, Vec<u8>) {
        let protected = encode(&map([
            (int(1), int(-8)),
            (int(4), bytes(kid(&self.public()))),
            (int(16), text(typ)),
        ]));
        let payload = encode(claims);
        let signed = encode(&Value::Array(vec![
            text("Signature1"),
            bytes(&protected),
            bytes([]),
            bytes(&payload),
        ]));
        let signature = self.0.sign(&signed).to_bytes();
        (sign1(&protected, &payload, &signature), signed)
    }

    fn credential(&self, claims: &Value) -> Vec<u8> {
        self.sign("application/coop+cwt", claims).0
    }
}

fn sign1(protected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let parts = vec![bytes(protected), map([]), bytes(payload), bytes(signature)];
    encode(&Value::Tag(18, Box::new(Value::Array(parts))))
}

fn kid(public: &[u8; 32]) -> Vec<u8> {
    let cose_key = map([(int(1), int(1)), (int(-1), int(6)), (int(-2), bytes(public))]);
    Sha256::digest(encode(&cose_key))[..8].to_vec()
}

fn receipt(kind: i64) -> Value {
    let content = vec![
        int(2),
        int(144),
        int(978),
        text("lane3"),
        int(7),
        int(kind),
        bytes([9; 32]),
    ];
    map([(int(6), int(1_772_896_869)), (int(-65537), Value::Array(content))])
}

fn coupon(campaign: &[u8], uri: &str, index: i64, not_after: u64) -> Value {
    let status = map([(text("idx"), int(index)), (text("uri"), text(uri))]);
    map([
        (int(4), int(not_after)),
        (int(65535), map([(text("status_list"), status)])),
        (int(-65537), Value::Array(vec![int(1), bytes(campaign)])),
    ])
}

fn campaign(now: u64) -> Value {
    let terms = map([
        (int(1), text("Apfelwoche")),
        (int(2), text("")),
        (int(3), int(978)),
        (int(4), Value::Array(vec![int(1), int(250)])),
    ]);
    map([
        (int(4), int(now + 9_000)),
        (int(5), int(now - 9_000)),
        (int(6), int(now - 9_000)),
        (int(-65537), Value::Array(vec![int(4), terms])),
    ])
}

// Index 1 is revoked, 2 suspended, 3 used up.
fn status_list(uri: &str, now: u64) -> Value {
    use std::io::Write as _;
    let mut statuses = vec![0_u8; 32_768];
    statuses[0] = 0b1110_0100;
    let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    deflated.write_all(&statuses).unwrap();
    let list = map([
        (text("bits"), int(2)),
        (text("lst"), bytes(deflated.finish().unwrap())),
    ]);
    map([
        (int(2), text(uri)),
        (int(4), int(now + 600)),
        (int(6), int(now - 5)),
        (int(65534), int(60)),
        (int(65533), list),
    ])
}

/// The integer 0x01 || `credential` in base 10.
fn digits(credential: &[u8]) -> String {
    let mut decimal = vec![0_u8];
    for byte in std::iter::once(&1).chain(credential) {
        let mut carry = u32::from(*byte);
        for digit in &mut decimal {
            carry += u32::from(*digit) << 8;
            *digit = u8::try_from(carry % 10).unwrap();
            carry /= 10;
        }
        while carry > 0 {
            decimal.push(u8::try_from(carry % 10).unwrap());
            carry /= 10;
        }
    }
    decimal
        .iter()
        .rev()
        .map(|digit| char::from(b'0' + digit))
        .collect()
}

/// What a node publishes, canned, beside the page.
struct Published {
    did: String,
    campaign: String,
    list: Vec<u8>,
}

// On a thread of its own, until the test's process ends.
fn serve(listener: TcpListener, published: Published) {
    let published = web::Data::new(published);
    let app = move || {
        App::new()
            .app_data(published.clone())
            .configure(tallystick::web::configure)
            .route("/.well-known/did.json", web::get().to(did_document))
            .route("/v1/campaigns/{id}", web::get().to(campaign_terms))
            .route("/s/0", web::get().to(status_token))
    };
    std::thread::spawn(move || {
        let server = HttpServer::new(app).workers(1).disable_signals();
        let running = async move { server.listen(listener).unwrap().run().await };
        actix_web::rt::System::new().block_on(running)
    });
}

async fn did_document(published: web::Data<Published>) -> HttpResponse {
    HttpResponse::Ok().body(published.did.clone())
}

// The same for every name: the page has to see that it is not what it asked for.
async fn campaign_terms(published: web::Data<Published>) -> HttpResponse {
    HttpResponse::Ok().body(published.campaign.clone())
}

async fn status_token(published: web::Data<Published>) -> HttpResponse {
    HttpResponse::Ok().body(published.list.clone())
}

fn did_json(authority: &str, keys: &[[u8; 32]]) -> String {
    let did = format!("did:web:{}", authority.replace(':', "%3A"));
    let methods: Vec<Json> = keys
        .iter()
        .map(|key| {
            json!({"id": format!("{did}#{}", HEXLOWER.encode(&kid(key))), "type": "JsonWebKey", "controller": did,
                "publicKeyJwk": {"kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(key)}})
        })
        .collect();
    json!({"id": did, "verificationMethod": methods}).to_string()
}

// WebCrypto alone accepts this one: key and R are the identity, S is zero.
fn by_small_order_key(identity: &[u8; 32]) -> Vec<u8> {
    let protected = encode(&map([
        (int(1), int(-8)),
        (int(4), bytes(kid(identity))),
        (int(16), text("application/coop+cwt")),
    ]));
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(identity);
    sign1(&protected, &encode(&receipt(1)), &signature)
}

#[test]
fn the_page_says_what_a_code_is_worth() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (base_url, uri) = (format!("http://{authority}"), format!("http://{authority}/s/0"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

    let (ours, other) = (
        Issuer(SigningKey::from_bytes(&[7; 32])),
        Issuer(SigningKey::from_bytes(&[8; 32])),
    );
    let mut identity = [0; 32];
    identity[0] = 1;
    let (terms, terms_signed) = ours.sign("application/coop+cwt", &campaign(now));
    let id = Sha256::digest(&terms_signed)[..16].to_vec();
    serve(
        listener,
        Published {
            did: did_json(&authority, &[ours.public(), identity]),
            campaign:
                json!({"id": BASE64URL_NOPAD.encode(&id), "credential": BASE64URL_NOPAD.encode(&terms)})
                    .to_string(),
            list: ours.sign("application/statuslist+cwt", &status_list(&uri, now)).0,
        },
    );

    let good = ours.credential(&receipt(1));
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut longer = good.clone();
    longer.push(0);
    let by = |index, until| digits(&ours.credential(&coupon(&id, &uri, index, until)));
    let later = now + 3_600;
    let cases = [
        ("no code", String::new(), "empty"),
        ("a receipt", digits(&good), "valid"),
        ("an escaped mark", format!("%23{}", digits(&good)), "valid"),
        ("junk after it", format!("{}x", digits(&good)), "unreadable"),
        ("a leading zero", format!("0{}", digits(&good)), "unreadable"),
        ("a changed signature", digits(&flipped), "forged"),
        ("a byte too many", digits(&longer), "forged"),
        (
            "a key of small order",
            digits(&by_small_order_key(&identity)),
            "forged",
        ),
        (
            "another's key",
            digits(&other.credential(&receipt(1))),
            "unknown-issuer",
        ),
        ("a coupon", by(0, later), "valid"),
        ("a revoked one", by(1, later), "revoked"),
        ("a suspended one", by(2, later), "suspended"),
        ("a used one", by(3, later), "used-up"),
        ("an expired and revoked one", by(1, now - 60), "expired"),
        (
            "a list of another's",
            digits(&ours.credential(&coupon(&id, "https://coop.example/s/0", 0, later))),
            "unknown-issuer",
        ),
        (
            "terms that are not the coupon's",
            digits(&ours.credential(&coupon(&[5; 16], &uri, 0, later))),
            "undetermined",
        ),
        (
            "a list that is not there",
            digits(&ours.credential(&coupon(&id, &format!("{base_url}/s/1"), 0, later))),
            "undetermined",
        ),
    ];
    let Some(browser) = expect_states(&base_url, &cases) else {
        return;
    };
    browser.state_of(&format!("{base_url}/v#{}", by(0, later)));
    let text = browser.page_text();
    for said in [authority.as_str(), "Apfelwoche", "2.50", "0-0"] {
        assert!(text.contains(said), "{said} in: {text}");
    }
}
