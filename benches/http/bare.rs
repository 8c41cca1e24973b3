//! The bare loop that redemptions and receipts are held against: JSON in, one
//! `verify_strict`, one signature, a group-commit append and `fdatasync` to a
//! plain file, JSON out. No state, no log, no checks.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;

use actix_web::{App, HttpResponse, HttpServer, web};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use tokio::sync::oneshot;

struct Bare {
    key: SigningKey,
    verifying: VerifyingKey,
    message: Vec<u8>,
    signature: Signature,
    appends: crossbeam_channel::Sender<(Vec<u8>, oneshot::Sender<()>)>,
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, workers: usize, directory: &Path) -> std::io::Result<()> {
    let key = SigningKey::from_bytes(&[7; 32]);
    // As long as the Sig_structure of a coupon.
    let message = vec![42; 150];
    let signature = key.sign(&message);
    let (appends, queue) = crossbeam_channel::bounded(4096);
    let file = File::create(directory.join("bare.log"))?;
    std::thread::spawn(move || append(file, &queue));
    let bare = web::Data::new(Bare {
        verifying: key.verifying_key(),
        key,
        message,
        signature,
        appends,
    });
    HttpServer::new(move || {
        App::new()
            .app_data(bare.clone())
            .default_service(web::post().to(handle))
    })
    .workers(workers)
    .backlog(4096)
    .listen(listener)?
    .run()
    .await
}

async fn handle(bare: web::Data<Bare>, body: web::Bytes) -> HttpResponse {
    let Ok(request) = serde_json::from_slice::<serde_json::Value>(&body) else {
        return HttpResponse::BadRequest().finish();
    };
    if bare
        .verifying
        .verify_strict(&bare.message, &bare.signature)
        .is_err()
    {
        return HttpResponse::UnprocessableEntity().finish();
    }
    let mut record = body.to_vec();
    record.truncate(300);
    let signature = bare.key.sign(&record);
    record.extend(signature.to_bytes());
    let (done, wait) = oneshot::channel();
    if bare.appends.send((record, done)).is_err() || wait.await.is_err() {
        return HttpResponse::InternalServerError().finish();
    }
    HttpResponse::Created().json(serde_json::json!({
        "amount": request["basket"]["total"],
        "signature": data_encoding::BASE64URL_NOPAD.encode(&signature.to_bytes()),
    }))
}

fn append(mut file: File, queue: &crossbeam_channel::Receiver<(Vec<u8>, oneshot::Sender<()>)>) {
    let mut bytes = Vec::new();
    let mut waiting = Vec::new();
    while let Ok((record, done)) = queue.recv() {
        bytes.extend(record);
        waiting.push(done);
        while let Ok((record, done)) = queue.try_recv() {
            bytes.extend(record);
            waiting.push(done);
        }
        file.write_all(&bytes)
            .and_then(|()| file.sync_data())
            .expect("the disk works");
        bytes.clear();
        for done in waiting.drain(..) {
            let _ = done.send(());
        }
    }
}
