//! zlib (RFC 1950), bounded: status lists are the only thing compressed here.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Why bytes did not inflate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZlibError {
    /// Not a zlib stream, or its checksum is wrong.
    #[error("not a zlib stream (RFC 1950)")]
    NotZlib,
    /// The stream ends early.
    #[error("the zlib stream is cut short")]
    Truncated,
    /// It inflates to more than the caller allows.
    #[error("the zlib stream inflates to more than {max} bytes")]
    TooLong {
        /// Bytes allowed.
        max: usize,
    },
    /// Something follows the stream.
    #[error("bytes follow the zlib stream")]
    Trailing,
}

/// The zlib stream of `bytes`, as small as the library makes it.
#[must_use]
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut state = Compress::new(Compression::best(), true);
    // Incompressible input grows by 5 bytes per 16 KiB block and a frame of 6.
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 1_000 + 64);
    loop {
        let done = usize::try_from(state.total_in()).expect("counts bytes in memory");
        let status = state
            .compress_vec(&bytes[done..], &mut out, FlushCompress::Finish)
            .expect("deflating from memory");
        if status == Status::StreamEnd {
            return out;
        }
        out.reserve(bytes.len() / 2 + 64);
    }
}

/// What `stream` inflates to: at most `max` bytes, the whole stream read.
///
/// # Errors
/// [`ZlibError`]; memory stays below `max` plus the window for whatever bytes.
pub fn inflate(stream: &[u8], max: usize) -> Result<Vec<u8>, ZlibError> {
    let mut state = Decompress::new(true);
    // One byte of room beyond `max` tells too long from exactly full.
    let mut out = Vec::with_capacity(max + 1);
    let status = state
        .decompress_vec(stream, &mut out, FlushDecompress::Finish)
        .map_err(|_| ZlibError::NotZlib)?;
    if out.len() > max {
        return Err(ZlibError::TooLong { max });
    }
    if status != Status::StreamEnd {
        return Err(ZlibError::Truncated);
    }
    if state.total_in() != stream.len() as u64 {
        return Err(ZlibError::Trailing);
    }
    out.shrink_to_fit();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_kept() {
        let bomb = deflate(&vec![0; 1_000_000]);
        assert_eq!(inflate(&bomb, 32_768), Err(ZlibError::TooLong { max: 32_768 }));
        let exact = deflate(&[7; 100]);
        assert_eq!(inflate(&exact, 100).unwrap(), [7; 100]);
        assert_eq!(inflate(&exact, 99), Err(ZlibError::TooLong { max: 99 }));
    }

    #[test]
    fn only_one_whole_stream_is_taken() {
        let stream = deflate(b"valid");
        let mut longer = stream.clone();
        longer.push(0);
        assert_eq!(inflate(&longer, 64), Err(ZlibError::Trailing));
        assert_eq!(
            inflate(&stream[..stream.len() - 1], 64),
            Err(ZlibError::Truncated)
        );
        assert_eq!(inflate(b"", 64), Err(ZlibError::Truncated));
        assert_eq!(inflate(b"no zlib here", 64), Err(ZlibError::NotZlib));
        let mut broken = stream;
        *broken.last_mut().unwrap() ^= 1;
        assert!(inflate(&broken, 64).is_err());
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert_eq!(inflate(&deflate(&bytes), 2_000).unwrap(), bytes);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = inflate(&bytes, 64);
        }
    }
}
