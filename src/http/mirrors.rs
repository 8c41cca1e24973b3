//! Copies of other nodes' logs, each under a prefix of its own, as the clients of
//! C2SP know logs (c2sp.org/tlog-tiles v0.1.0). `tallystick mirror` keeps them, and
//! has verified what lies there; entries, stubs and tags are for those who may read
//! this node's.

use std::path::PathBuf;

use actix_web::http::header;
use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse, get};

use crate::federation::client::{CHECKPOINT, LOG_KEY};
use crate::federation::{DirSource, LogSource as _};
use crate::log::TilePath;
use crate::log::tile_path::TileKind;
use crate::merkle::TILE_LEN;
use crate::primitives::{Tag, limits};

use super::HttpState;
use super::auth::{Identity, May};
use super::negotiate::TEXT;
use super::problem::Problem;
use super::public::CHECKPOINT_SECONDS;
use super::tiles::{Piece, bundle, hashes, may_read_entries};

/// The newest checkpoint of a mirrored log that was verified, a signed note.
///
/// The node's setting `mirrors` names the logs.
#[utoipa::path(
    tag = "public",
    operation_id = "getMirrorCheckpoint",
    params(("log" = String, Path, description = "The log's name among the node's mirrors")),
    responses((status = 200, description = "The signed checkpoint (C2SP tlog-checkpoint)",
        content_type = "text/plain; charset=utf-8", body = String))
)]
#[get("/mirror/{log}/checkpoint")]
pub async fn mirror_checkpoint(state: Data<HttpState>, log: Path<String>) -> Result<HttpResponse, Problem> {
    text_file(&state, &log, CHECKPOINT).await
}

/// The public key of a mirrored log.
#[utoipa::path(
    tag = "public",
    operation_id = "getMirrorKey",
    params(("log" = String, Path, description = "The log's name among the node's mirrors")),
    responses((status = 200, description = "The verifier key in one line (C2SP signed-note)",
        content_type = "text/plain; charset=utf-8", body = String))
)]
#[get("/mirror/{log}/log.vkey")]
pub async fn mirror_key(state: Data<HttpState>, log: Path<String>) -> Result<HttpResponse, Problem> {
    text_file(&state, &log, LOG_KEY).await
}

/// A tile of hashes of a mirrored log.
///
/// Full tiles, and the partial ones of sizes that the mirror has come to.
#[utoipa::path(
    tag = "public",
    operation_id = "getMirrorTile",
    params(
        ("log" = String, Path, description = "The log's name among the node's mirrors"),
        ("level" = u8, Path, description = "The tile's level, 0 to 63"),
        ("number" = String, Path, description = "As of a tile of this node: `x001/x234/067`, or `000.p/17` with a width"),
    ),
    responses((status = 200, description = "The hashes, 32 bytes each (C2SP tlog-tiles)",
        content_type = "application/octet-stream", body = Vec<u8>))
)]
#[get("/mirror/{log}/tile/{level}/{number:.*}")]
pub async fn mirror_tile(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (dir, path) = tile_of(&state, &request)?;
    // Whatever else lies there shows a shop's trade.
    if !matches!(path.kind(), TileKind::Hashes(_)) {
        return Err(Problem::new("not_found", "a tile of hashes is asked for"));
    }
    let bytes = web::block(move || read(dir, &path.to_string(), TILE_LEN * 32))
        .await
        .map_err(|error| Problem::internal(&error))??;
    Ok(hashes(&path, bytes))
}

/// A bundle of entries of a mirrored log.
///
/// For the office and auditors, unless the node's setting `entries_public`
/// makes entries public.
#[utoipa::path(
    tag = "public",
    operation_id = "getMirrorEntryBundle",
    params(
        ("log" = String, Path, description = "The log's name among the node's mirrors"),
        ("number" = String, Path, description = "As of a tile of this node: `x001/x234/067`, or `000.p/17` with a width"),
    ),
    responses((status = 200, description = "Each entry after its length in two bytes, big-endian (C2SP tlog-tiles); \
        packed with gzip where Accept-Encoding asks for it",
        content_type = "application/octet-stream", body = Vec<u8>))
)]
#[get("/mirror/{log}/tile/entries/{number:.*}")]
pub async fn mirror_entry_bundle(
    state: Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let most = TILE_LEN * (2 + limits::FOREIGN_ENTRY_BYTES_MAX);
    protected(&state, &request, most, Piece::last).await
}

/// The signed stubs of the receipts among the entries of a bundle of a mirrored log.
///
/// For the office and auditors, even where entries are public, if the mirror was
/// shown them.
#[utoipa::path(
    tag = "public",
    operation_id = "getMirrorStubBundle",
    params(
        ("log" = String, Path, description = "The log's name among the node's mirrors"),
        ("number" = String, Path, description = "As of the bundle of entries: `x001/x234/067`, or `000.p/17`"),
    ),
    responses((status = 200, description = "For each entry two bytes with the length of its stub, big-endian, and the \
        stub; 0 where the entry is no receipt's, or no stub was shown. Packed with gzip where Accept-Encoding asks for it",
        content_type = "application/octet-stream", body = Vec<u8>))
)]
#[get("/mirror/{log}/tile/stubs/{number:.*}")]
pub async fn mirror_stub_bundle(
    state: Data<HttpState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    Identity::of(&state, &request, May::Examine)?;
    let most = TILE_LEN * (2 + limits::CREDENTIAL_BYTES_MAX);
    // A stub that is lacking may be there when the mirror is made anew.
    protected(&state, &request, most, Piece::passing).await
}

/// The tags of the coupons at 256 positions of a mirrored log.
///
/// For whoever may read entries, where the mirror was shown them.
#[utoipa::path(
    tag = "public",
    operation_id = "getMirrorTagTile",
    params(
        ("log" = String, Path, description = "The log's name among the node's mirrors"),
        ("number" = String, Path, description = "The first position divided by 256, as a tile's number; \
            `.p/` and a width that a batch ends at for fewer"),
    ),
    responses((status = 200, description = "32 bytes a position, zeros where no batch was issued",
        content_type = "application/octet-stream", body = Vec<u8>))
)]
#[get("/mirror/{log}/tile/tags/{number:.*}")]
pub async fn mirror_tag_tile(state: Data<HttpState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    protected(&state, &request, TILE_LEN * Tag::LEN, Piece::passing).await
}

/// What is for those who may read entries; at most `most` bytes.
async fn protected(
    state: &HttpState,
    request: &HttpRequest,
    most: usize,
    piece: fn(Vec<u8>) -> Piece,
) -> Result<HttpResponse, Problem> {
    may_read_entries(state, request)?;
    let (dir, path) = tile_of(state, request)?;
    bundle(state, request, path, move || {
        read(dir, &path.to_string(), most).map(piece)
    })
    .await
}

async fn text_file(state: &HttpState, log: &str, name: &'static str) -> Result<HttpResponse, Problem> {
    let dir = dir_of(state, log)?;
    let text = web::block(move || read(dir, name, limits::NOTE_BYTES_MAX))
        .await
        .map_err(|error| Problem::internal(&error))??;
    Ok(HttpResponse::Ok()
        .content_type(TEXT)
        .insert_header((
            header::CACHE_CONTROL,
            format!("public, max-age={CHECKPOINT_SECONDS}"),
        ))
        .body(text))
}

fn dir_of(state: &HttpState, log: &str) -> Result<PathBuf, Problem> {
    let dir = state.options.mirrors.get(log);
    dir.cloned()
        .ok_or_else(|| Problem::new("not_found", "this node mirrors no log of that name"))
}

/// The mirror's directory, and the tile's path as it was sent.
fn tile_of(state: &HttpState, request: &HttpRequest) -> Result<(PathBuf, TilePath), Problem> {
    let path = request.path().strip_prefix("/mirror/").unwrap_or_default();
    let (log, path) = path.split_once('/').unwrap_or_default();
    let dir = dir_of(state, log)?;
    let path = TilePath::parse(path).map_err(|error| Problem::new("not_found", error.to_string()))?;
    Ok((dir, path))
}

/// A file of a mirror. What it is called is made from a tile's path: no other file
/// can be asked for.
fn read(dir: PathBuf, name: &str, most: usize) -> Result<Vec<u8>, Problem> {
    match DirSource::new(dir).get(name, most) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(Problem::new("not_found", "the mirror holds no such file")),
        Err(error) => Err(Problem::internal(&error)),
    }
}
