//! JSON, deflated: transcripts repeat themselves, and shrink to a tenth.

use std::io::{Read, Write};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use serde::{Serialize, de::DeserializeOwned};

use crate::db::{DbError, Row};

/// What is stored is bounded where it is read; a few deflated bytes of a damaged row must not take all memory.
const LARGEST: u64 = 1 << 30;

/// Serialises straight into the compressor: the uncompressed text never exists as a whole.
pub(super) fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, DbError> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut encoder, value)
        .map_err(|error| DbError::other(format!("cannot write a value as JSON: {error}")))?;
    encoder
        .flush()
        .and_then(|()| encoder.finish())
        .map_err(|error| DbError::other(format!("cannot compress: {error}")))
}

/// Reads what [`pack`] wrote; the error names the column.
pub(super) fn unpack<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<T, DbError> {
    let bytes: Vec<u8> = row.get(column)?;
    let mut text = Vec::new();
    DeflateDecoder::new(bytes.as_slice())
        .take(LARGEST + 1)
        .read_to_end(&mut text)
        .map_err(|error| row.bad(column, &format!("not deflated data: {error}")))?;
    if text.len() as u64 > LARGEST {
        return Err(row.bad(column, &format!("more than {LARGEST} bytes when inflated")));
    }
    serde_json::from_slice(&text).map_err(|error| row.bad_json(column, &error))
}
