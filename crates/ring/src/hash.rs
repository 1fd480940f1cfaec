//! How bytes become points: the hash, and the versioned scheme for tokens.
//!
//! Everything here is a format. `core::hash::Hash` is deliberately not used: it hashes integers
//! in native byte order, `usize` in native width, and may change between compiler versions.

use alloc::vec::Vec;
use core::ops::Range;

use sha1::Digest as _;

use crate::Point;

/// Version of the scheme by which tokens are made.
///
/// Version 1: the point of token *i* of a server is the hash of the server's
/// [stable bytes](StableBytes) followed by *i* as four little-endian bytes; a key's point is the
/// hash of its bytes as they are. Golden vectors in `testdata/` pin it for both hashes.
pub const SCHEME_VERSION: u32 = 1;

/// Hashes bytes to a point; the same bytes must give the same point for ever.
pub trait PointHash {
    /// The point of `bytes`.
    fn point(&self, bytes: &[u8]) -> Point;
}

impl<H: PointHash + ?Sized> PointHash for &H {
    fn point(&self, bytes: &[u8]) -> Point {
        (**self).point(bytes)
    }
}

/// XXH3, 64 bits, seed 0: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Xxh3;

impl PointHash for Xxh3 {
    #[inline]
    fn point(&self, bytes: &[u8]) -> Point {
        Point(xxhash_rust::xxh3::xxh3_64(bytes))
    }
}

/// SHA-1, its first eight bytes read as a big-endian number.
///
/// About thirty times slower than [`Xxh3`]; for interoperation with rings that use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sha1;

impl PointHash for Sha1 {
    fn point(&self, bytes: &[u8]) -> Point {
        let digest = sha1::Sha1::digest(bytes);
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Point(u64::from_be_bytes(first))
    }
}

/// The bytes by which a server id is hashed: part of the format, on every machine the same.
///
/// Two different ids must give different bytes. Integers are little-endian, text is UTF-8.
pub trait StableBytes {
    /// Appends the bytes of this id to `out`.
    fn append_to(&self, out: &mut Vec<u8>);
}

macro_rules! stable_integers {
    ($($integer:ty),*) => {$(
        impl StableBytes for $integer {
            fn append_to(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
stable_integers!(u8, u16, u32, u64, u128);

impl StableBytes for str {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl StableBytes for alloc::string::String {
    fn append_to(&self, out: &mut Vec<u8>) {
        self.as_str().append_to(out);
    }
}

impl StableBytes for [u8] {
    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl StableBytes for Vec<u8> {
    fn append_to(&self, out: &mut Vec<u8>) {
        self.as_slice().append_to(out);
    }
}

impl<T: StableBytes + ?Sized> StableBytes for &T {
    fn append_to(&self, out: &mut Vec<u8>) {
        (**self).append_to(out);
    }
}

/// The point of token `index` of server `id` in the current scheme.
pub fn token_point(hash: &impl PointHash, id: &(impl StableBytes + ?Sized), index: u32) -> Point {
    let mut message = Vec::new();
    id.append_to(&mut message);
    message.extend_from_slice(&index.to_le_bytes());
    hash.point(&message)
}

/// The points of the tokens of `id` that `indexes` numbers, in that order.
pub(crate) fn token_points<'a>(
    hash: &'a impl PointHash,
    id: &impl StableBytes,
    indexes: Range<u32>,
) -> impl Iterator<Item = Point> + 'a {
    let mut message = Vec::new();
    id.append_to(&mut message);
    let prefix = message.len();
    message.extend_from_slice(&[0; 4]);
    indexes.map(move |index| {
        message[prefix..].copy_from_slice(&index.to_le_bytes());
        hash.point(&message)
    })
}
