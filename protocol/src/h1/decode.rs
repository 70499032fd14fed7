//! The body that is being read, the same for both machines: counted, chunked with trailers, or until close.

use crate::error::{ChunkError, HeadError};
use crate::h1::chunked::{Chunk, ChunkDecoder};
use crate::h1::head::{cut, unfinished};
use crate::h1::syntax::{self, Progress, Scan};
use crate::header::map::Fields;
use crate::limits::Limits;
use crate::rules::hop_by_hop::FORBIDDEN_IN_TRAILERS;
use crate::span::Span;

/// What is left of a body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum BodyDecoder {
    /// Nothing: ended, or never was.
    #[default]
    Ended,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked(ChunkDecoder),
    /// The trailer section of a chunked body.
    Trailers(Scan),
    /// Everything up to the end of the connection.
    UntilClose,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Nothing yet.
    More,
    /// Some bytes of the body.
    Data(Span),
    /// The trailer section, now in the fields; the body has ended.
    Trailers,
    /// The body has ended, without trailers worth telling.
    End,
}

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    Chunk(ChunkError),
    Trailer(HeadError),
}

impl BodyDecoder {
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self, BodyDecoder::Ended)
    }

    /// Bytes to come, where the peer has told how many.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            BodyDecoder::Ended => Some(0),
            BodyDecoder::Length(left) => Some(*left),
            BodyDecoder::Chunked(_) | BodyDecoder::Trailers(_) | BodyDecoder::UntilClose => None,
        }
    }

    /// Reads one piece from the start of `input`; gives the number of bytes used. After the last piece of data
    /// the decoder may be ended at once: ask [`BodyDecoder::is_ended`].
    pub(crate) fn step(
        &mut self,
        input: &[u8],
        limits: &Limits,
        body_left: &mut u64,
        fields: &mut Fields,
    ) -> Result<(usize, Piece), BodyError> {
        match self {
            BodyDecoder::Ended => Ok((0, Piece::End)),
            BodyDecoder::UntilClose if input.is_empty() => Ok((0, Piece::More)),
            BodyDecoder::UntilClose => Ok((input.len(), Piece::Data(Span::new(0, input.len())))),
            BodyDecoder::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= len as u64;
                if *left == 0 {
                    *self = BodyDecoder::Ended;
                }
                Ok((len, if len == 0 { Piece::More } else { Piece::Data(Span::new(0, len)) }))
            }
            BodyDecoder::Chunked(chunks) => {
                let (used, chunk) = chunks.step(input, 0, limits, body_left).map_err(BodyError::Chunk)?;
                match chunk {
                    Chunk::More => Ok((used, Piece::More)),
                    Chunk::Data(span) => {
                        // The usual end of a body comes in one piece with its last data.
                        let is_end = input.get(used..).is_some_and(|rest| rest.starts_with(b"0\r\n\r\n"));
                        if is_end && chunks.is_between_chunks() {
                            *self = BodyDecoder::Ended;
                            return Ok((used + 5, Piece::Data(span)));
                        }
                        Ok((used, Piece::Data(span)))
                    }
                    Chunk::Last => {
                        let mut scan = Scan::default();
                        let found = read_trailers(input, used, &mut scan, limits, fields)?;
                        Ok(self.after_trailers(found, used, scan))
                    }
                }
            }
            BodyDecoder::Trailers(scan) => {
                let mut scan = *scan;
                let found = read_trailers(input, 0, &mut scan, limits, fields)?;
                Ok(self.after_trailers(found, 0, scan))
            }
        }
    }

    fn after_trailers(&mut self, found: Option<(usize, Piece)>, start: usize, scan: Scan) -> (usize, Piece) {
        match found {
            Some(ended) => {
                *self = BodyDecoder::Ended;
                ended
            }
            None => {
                *self = BodyDecoder::Trailers(scan);
                (start, Piece::More)
            }
        }
    }
}

/// RFC 9112 7.1.2. `None` while the section is incomplete; forbidden fields are dropped.
fn read_trailers(
    input: &[u8],
    start: usize,
    scan: &mut Scan,
    limits: &Limits,
    fields: &mut Fields,
) -> Result<Option<(usize, Piece)>, BodyError> {
    let section = cut(input, start, limits.head_bytes_max);
    let bytes = section.get(start..).unwrap_or(&[]);
    if scan.is_news(bytes, &[]) {
        let progress = syntax::read_fields(section, start, fields, limits.fields_max);
        if let Progress::Done(end) = progress.map_err(BodyError::Trailer)? {
            fields.remove(FORBIDDEN_IN_TRAILERS);
            return Ok(Some((end, if fields.is_empty() { Piece::End } else { Piece::Trailers })));
        }
    }
    scan.note(bytes);
    unfinished(input, start, limits).map_err(BodyError::Trailer)
}
