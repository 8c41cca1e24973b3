//! The log as the clients of C2SP know it (c2sp.org/tlog-tiles v0.1.0): tiles
//! of hashes, and bundles of entries.

use std::io::Write as _;

use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, get};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::log::TilePath;
use crate::log::tile_path::TileKind;
use crate::merkle::TILE_LEN;
use crate::node::BesideBundle;

use super::HttpState;
use super::auth::{Identity, May};
use super::negotiate::{in_pieces, wants_gzip};
use super::problem::Problem;

/// The media type of tiles and bundles.
const BYTES: &str = "application/octet-stream";

/// How long a full tile may be kept: it never changes.
const FULL: &str = "max-age=31536000, immutable";

/// How long a partial tile may be kept: it never changes either, but is of no
/// more use once the log has grown.
const PARTIAL: &str = "max-age=60";

/// A full tile of 256 hashes, or the beginning of one.
///
/// A tile of level 0 has the hashes of entries, one of a higher level the roots
/// of full tiles below it. Any width that the log has come to is served, also
/// of a tile that is full by now.
#[utoipa::path(
    tag = "public",
    operation_id = "getTile",
    params(
        ("level" = u8, Path, description = "The tile's level, 0 to 63"),
        ("number" = String, Path, description = "Its number in groups of three digits, all but the last with an x \
            before it and a slash after it; of a partial tile, `.p/` and its width follow"),
    ),
    responses((status = 200, description = "The hashes, 32 bytes each (C2SP tlog-tiles)",
        content_type = "application/octet-stream", body = Vec<u8>))
)]
#[get("/tile/{level}/{number:.*}")]
pub async fn tile(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path = parse(&request)?;
    Ok(hashes(&path, state.node.hash_tile(&path)?))
}

/// The entries under a tile of level 0, or the first of them.
///
/// For the office and auditors, unless the node's setting `entries_public`
/// makes entries public.
#[utoipa::path(
    tag = "public",
    operation_id = "getEntryBundle",
    params(("number" = String, Path, description = "As of a tile: `x001/x234/067`, or `000.p/17` with a width")),
    responses((status = 200, description = "Each entry after its length in two bytes, big-endian (C2SP tlog-tiles); \
        packed with gzip where Accept-Encoding asks for it",
        content_type = "application/octet-stream", body = Vec<u8>))
)]
#[get("/tile/entries/{number:.*}")]
pub async fn entry_bundle(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    may_read_entries(&state, &request)?;
    let path = parse(&request)?;
    let node = state.node.clone();
    bundle(&state, &request, path, move || {
        Ok(Piece::last(node.entry_bundle(&path)?))
    })
    .await
}

/// The signed stubs of the receipts among the entries of a bundle.
///
/// For the office and auditors, even where entries are public: a stub names no
/// person, but whoever has it can ask for what is on its receipt (`Receipt-Proof`).
#[utoipa::path(
    tag = "public",
    operation_id = "getStubBundle",
    params(("number" = String, Path, description = "As of the bundle of entries: `x001/x234/067`, or `000.p/17`")),
    responses((status = 200, description = "For each entry two bytes with the length of its stub, big-endian, and the \
        stub; 0 where the entry is no receipt's. Packed with gzip where Accept-Encoding asks for it",
        content_type = "application/octet-stream", body = Vec<u8>))
)]
#[get("/tile/stubs/{number:.*}")]
pub async fn stub_bundle(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    Identity::of(&state, &request, May::Examine)?;
    let path = parse(&request)?;
    let node = state.node.clone();
    bundle(&state, &request, path, move || {
        Ok(node.stub_bundle(&path)?.into())
    })
    .await
}

/// The tags of the coupons at 256 positions.
///
/// Whoever may read entries may read them: a tag authorises nothing. A batch's
/// entry says which positions are its own, and the root over their tags.
#[utoipa::path(
    tag = "public",
    operation_id = "getTagTile",
    params(("number" = String, Path, description = "The first position divided by 256, as a tile's number; \
        `.p/` and a width for fewer")),
    responses((status = 200, description = "32 bytes a position, zeros where a batch is still being issued",
        content_type = "application/octet-stream", body = Vec<u8>))
)]
#[get("/tile/tags/{number:.*}")]
pub async fn tag_tile(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    may_read_entries(&state, &request)?;
    let path = parse(&request)?;
    let node = state.node.clone();
    bundle(&state, &request, path, move || Ok(node.tag_bundle(&path)?.into())).await
}

/// A file of a log that is not for everyone.
pub struct Piece {
    bytes: Vec<u8>,
    /// It will not be another one.
    is_final: bool,
}

impl Piece {
    /// What stays as it is.
    pub fn last(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            is_final: true,
        }
    }

    /// What may be another one later.
    pub fn passing(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            is_final: false,
        }
    }
}

impl From<BesideBundle> for Piece {
    fn from(BesideBundle { bytes, is_final }: BesideBundle) -> Self {
        Self { bytes, is_final }
    }
}

/// A tile of hashes as it is sent: for everyone.
pub fn hashes(path: &TilePath, bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(BYTES)
        .insert_header((header::CACHE_CONTROL, kept(path, true)))
        .body(bytes)
}

/// Reads what lies at `path` and sends it, packed where the client asks and it is
/// not random bytes, to one who [may read it](may_read_entries).
pub async fn bundle(
    state: &HttpState,
    request: &HttpRequest,
    path: TilePath,
    read: impl FnOnce() -> Result<Piece, Problem> + Send + 'static,
) -> Result<HttpResponse, Problem> {
    let is_packable = path.kind() != TileKind::Tags;
    let pack = is_packable && wants_gzip(request);
    // Reading, checking and packing up to 1.5 MB: not in the thread that serves.
    let piece = web::block(move || {
        let piece = read()?;
        if !pack {
            return Ok(piece);
        }
        let bytes = gzip(&piece.bytes).map_err(|error| Problem::internal(&error))?;
        Ok::<_, Problem>(Piece { bytes, ..piece })
    })
    .await
    .map_err(|error| Problem::internal(&error))??;
    let keep = if piece.is_final {
        kept(
            &path,
            state.options.entries_public && path.kind() != TileKind::Stubs,
        )
    } else {
        "no-store".to_owned()
    };
    let mut response = HttpResponse::Ok();
    response
        .content_type(BYTES)
        .insert_header((header::CACHE_CONTROL, keep));
    if is_packable {
        response.insert_header((header::VARY, HeaderValue::from_static("Accept-Encoding")));
    }
    if pack {
        response.insert_header((header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
    }
    Ok(response.body(in_pieces(piece.bytes.into())))
}

/// Entries show a shop's trade (formats, section 4, 'Who may read').
pub fn may_read_entries(state: &HttpState, request: &HttpRequest) -> Result<(), Problem> {
    if !state.options.entries_public {
        Identity::of(state, request, May::Examine)?;
    }
    Ok(())
}

/// The path as it was sent: a tile has one spelling.
fn parse(request: &HttpRequest) -> Result<TilePath, Problem> {
    let path = request.path().strip_prefix('/').unwrap_or_default();
    TilePath::parse(path).map_err(|error| Problem::new("not_found", error.to_string()))
}

/// What may be kept, and by whom: a shared cache would give what needs a key
/// to those without one.
fn kept(path: &TilePath, public: bool) -> String {
    let whose = if public { "public" } else { "private" };
    let full = usize::from(path.width()) == TILE_LEN;
    format!("{whose}, {}", if full { FULL } else { PARTIAL })
}

/// Packs a bundle.
fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
