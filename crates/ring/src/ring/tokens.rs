//! Tokens in ring order, one word each, found through the top bits of a point.
//!
//! Knows nothing about servers: a token belongs to a slot, which is a number.

use alloc::vec;
use alloc::vec::Vec;
use core::slice;

use crate::Point;

/// Buckets of a segment. A change moves what follows in its segment, on average half of it: large
/// enough to keep the list of segments in the nearest cache, small enough to be moved in no time.
const SEGMENT_BUCKET_BITS: u32 = 10;
/// Tokens that are compared without a branch. A bucket holds two on average at most, and for one
/// lookup in fifty the answer lies behind the fourth.
const WINDOW: usize = 4;
/// A segment that is full grows by this part of itself: tokens spread evenly, so it seldom is.
const GROWTH_DIVISOR: usize = 16;

/// A set of (point, slot), ordered by point; equal points in the order their user asked for.
///
/// The points that begin with the same `bucket_bits` bits are a bucket. A token needs only the
/// other bits of its point, which leaves room for its slot in the same word: there are never
/// fewer buckets than slots. A lookup is two reads, of the bucket's start and of its tokens. The
/// buckets are grouped in segments of their own so that a change is local.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    bucket_bits: u32,
    segment_bucket_bits: u32,
    len: usize,
    segments: Vec<Vec<u64>>,
    /// For each segment the offset of each of its buckets, and its length.
    starts: Vec<u32>,
}

/// Bits for so many buckets that each holds between one and two tokens, and a slot fits.
fn bucket_bits(tokens: usize, slots: usize) -> u32 {
    let by_tokens = tokens.saturating_sub(1).checked_ilog2().unwrap_or(0);
    let by_slots = slots.next_power_of_two().ilog2();
    by_tokens.max(by_slots).max(1)
}

impl Tokens {
    /// The tokens of `runs`, each a slot and how many of `points` are its own, in that order.
    /// Equal points are ordered by slot. Linear in tokens and slots.
    pub(super) fn build(points: &[Point], runs: &[(u32, u32)]) -> Self {
        let bucket_bits = bucket_bits(points.len(), runs.len());
        let segment_bucket_bits = bucket_bits.min(SEGMENT_BUCKET_BITS);
        let segments = 1_usize << (bucket_bits - segment_bucket_bits);
        let per_segment = (1_usize << segment_bucket_bits) + 1;
        let mut tokens = Self {
            bucket_bits,
            segment_bucket_bits,
            len: points.len(),
            segments: Vec::with_capacity(segments),
            starts: vec![0; segments * per_segment],
        };
        // First by segment, so that the second pass stays within a cache.
        let mut ends = vec![0_usize; segments];
        for point in points {
            ends[tokens.bucket(*point) >> segment_bucket_bits] += 1;
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += core::mem::replace(end, sum);
        }
        let mut sorted = vec![Point::MIN; points.len()];
        let mut slots = vec![0_u32; points.len()];
        let mut left = points;
        for (slot, count) in runs {
            let (run, rest) = left.split_at(*count as usize);
            left = rest;
            for point in run {
                let end = &mut ends[tokens.bucket(*point) >> segment_bucket_bits];
                sorted[*end] = *point;
                slots[*end] = *slot;
                *end += 1;
            }
        }
        let mut begin = 0;
        for (segment, end) in ends.into_iter().enumerate() {
            tokens.fill_segment(segment, &sorted[begin..end], &slots[begin..end]);
            begin = end;
        }
        tokens
    }

    fn fill_segment(&mut self, segment: usize, points: &[Point], slots: &[u32]) {
        let buckets = 1_usize << self.segment_bucket_bits;
        let (bits, shift) = (self.bucket_bits, 64 - self.bucket_bits);
        let inner = |point: Point| (point.0 >> shift) as usize & (buckets - 1);
        let starts = &mut self.starts[segment * (buckets + 1)..][..=buckets];
        for point in points {
            starts[inner(*point)] += 1;
        }
        let mut sum = 0;
        for start in starts.iter_mut() {
            sum += core::mem::replace(start, sum);
        }
        let mut tokens = vec![0_u64; points.len()];
        for (point, slot) in points.iter().zip(slots) {
            let start = &mut starts[inner(*point)];
            tokens[*start as usize] = (point.0 << bits) | u64::from(*slot);
            *start += 1;
        }
        // Each start has become the end of its bucket, which is the next one's start.
        starts.copy_within(..buckets, 1);
        starts[0] = 0;
        for bounds in starts.windows(2) {
            let bucket = &mut tokens[bounds[0] as usize..bounds[1] as usize];
            match bucket {
                [] | [_] => {}
                [a, b] => (*a, *b) = ((*a).min(*b), (*a).max(*b)),
                _ => bucket.sort_unstable(),
            }
        }
        self.segments.push(tokens);
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether the number of buckets is right for so many tokens and slots; if not, they are
    /// built anew. The bounds are far enough apart for that to happen at each doubling at most.
    pub(super) fn suits(&self, tokens: usize, slots: usize) -> bool {
        let least = bucket_bits(tokens, slots);
        self.bucket_bits >= least && self.bucket_bits <= least + 2
    }

    /// Adds a token; `goes_before` says of the slot of an equal point whether the new one precedes.
    pub(super) fn insert(&mut self, point: Point, slot: u32, goes_before: impl Fn(u32) -> bool) {
        let (bucket, segment) = self.bucket_and_segment(point);
        let end = self.starts[bucket + segment + 1] as usize;
        let mut at = self.offset_of(point, bucket, segment);
        let (bits, slots) = (self.bucket_bits, self.slots_mask());
        let token = (point.0 << bits) | u64::from(slot);
        let tokens = &mut self.segments[segment];
        while at < end
            && tokens[at] >> bits == token >> bits
            && !goes_before((tokens[at] & slots) as u32)
        {
            at += 1;
        }
        if tokens.len() == tokens.capacity() {
            tokens.reserve_exact(tokens.len() / GROWTH_DIVISOR + 1);
        }
        tokens.insert(at, token);
        self.len += 1;
        for start in self.starts_after(bucket, segment) {
            *start += 1;
        }
    }

    /// Removes one token of that point and slot, which is there.
    pub(super) fn remove(&mut self, point: Point, slot: u32) {
        let (bucket, segment) = self.bucket_and_segment(point);
        let end = self.starts[bucket + segment + 1] as usize;
        let at = self.offset_of(point, bucket, segment);
        let token = (point.0 << self.bucket_bits) | u64::from(slot);
        let place = self.segments[segment][at..end]
            .iter()
            .position(|other| *other == token)
            .expect("a slot's tokens are those its server's hash gives");
        self.segments[segment].remove(at + place);
        self.len -= 1;
        for start in self.starts_after(bucket, segment) {
            *start -= 1;
        }
    }

    /// The slot of the first token at or after `point`; of the first of all after the last.
    #[inline]
    pub(super) fn first_slot_from(&self, point: Point) -> Option<u32> {
        let (bucket, segment) = self.bucket_and_segment(point);
        let offset = self.offset_of(point, bucket, segment);
        match self.segments[segment].get(offset) {
            Some(token) => Some((token & self.slots_mask()) as u32),
            None => self.first_slot_behind(segment),
        }
    }

    /// The slot of the first token behind a segment; its own first one if it has them all.
    #[cold]
    fn first_slot_behind(&self, segment: usize) -> Option<u32> {
        let (until, behind) = self.segments.split_at(segment + 1);
        let first = behind.iter().chain(until).find_map(|tokens| tokens.first());
        first.map(|token| (token & self.slots_mask()) as u32)
    }

    /// The slots of all tokens from the first one at or after `point`, once around.
    #[inline]
    pub(super) fn slots_from(&self, point: Point) -> SlotsFrom<'_> {
        let (bucket, segment) = self.bucket_and_segment(point);
        let offset = self.offset_of(point, bucket, segment);
        SlotsFrom {
            tokens: self,
            segment,
            rest: self.segments[segment][offset..].iter(),
            left: self.len,
        }
    }

    /// All tokens in ring order.
    pub(super) fn iter(&self) -> Iter<'_> {
        Iter {
            tokens: self,
            bucket: 0,
            offset: 0,
            left: self.len,
        }
    }

    #[inline]
    fn bucket(&self, point: Point) -> usize {
        (point.0 >> (64 - self.bucket_bits)) as usize
    }

    #[inline]
    fn bucket_and_segment(&self, point: Point) -> (usize, usize) {
        let bucket = self.bucket(point);
        (bucket, bucket >> self.segment_bucket_bits)
    }

    #[inline]
    fn slots_mask(&self) -> u64 {
        (1 << self.bucket_bits) - 1
    }

    /// Where in its segment the first token of the bucket at or after `point` lies, or would.
    // A call would cost a third of a lookup.
    #[inline(always)]
    fn offset_of(&self, point: Point, bucket: usize, segment: usize) -> usize {
        let start = self.starts[bucket + segment] as usize;
        let end = self.starts[bucket + segment + 1] as usize;
        let tokens = &self.segments[segment];
        // The least that a token at this point can be: its slot is 0.
        let least = point.0 << self.bucket_bits;
        if let Some([a, b, c, d]) = tokens[start..].first_chunk() {
            let less = |token: &u64| u32::from(*token < least);
            // Ordered within the bucket: the answer lies behind the leading ones, or at its end.
            let mask = less(a) | less(b) << 1 | less(c) << 2 | less(d) << 3;
            let count = mask.trailing_ones() as usize;
            if count < WINDOW || end - start <= WINDOW {
                return start + count.min(end - start);
            }
        }
        offset_by_search(tokens, start, end, least)
    }

    fn starts_after(&mut self, bucket: usize, segment: usize) -> &mut [u32] {
        let per_segment = (1_usize << self.segment_bucket_bits) + 1;
        &mut self.starts[bucket + segment + 1..(segment + 1) * per_segment]
    }
}

/// The same for a bucket that is longer than usual, or that ends with its segment.
#[cold]
fn offset_by_search(tokens: &[u64], start: usize, end: usize, least: u64) -> usize {
    start + tokens[start..end].partition_point(|token| *token < least)
}

/// See [`Tokens::slots_from`].
#[derive(Debug)]
pub(super) struct SlotsFrom<'a> {
    tokens: &'a Tokens,
    segment: usize,
    rest: slice::Iter<'a, u64>,
    left: usize,
}

impl Iterator for SlotsFrom<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        loop {
            if let Some(token) = self.rest.next() {
                return Some((token & self.tokens.slots_mask()) as u32);
            }
            // Ends, since there are tokens left.
            self.segment = (self.segment + 1) & (self.tokens.segments.len() - 1);
            self.rest = self.tokens.segments[self.segment].iter();
        }
    }
}

/// See [`Tokens::iter`].
#[derive(Clone, Debug)]
pub(super) struct Iter<'a> {
    tokens: &'a Tokens,
    bucket: usize,
    offset: usize,
    left: usize,
}

impl Iterator for Iter<'_> {
    type Item = (Point, u32);

    fn next(&mut self) -> Option<(Point, u32)> {
        self.left = self.left.checked_sub(1)?;
        let all = self.tokens;
        loop {
            let segment = self.bucket >> all.segment_bucket_bits;
            if self.offset < all.starts[self.bucket + segment + 1] as usize {
                let token = all.segments[segment][self.offset];
                self.offset += 1;
                let top = (self.bucket as u64) << (64 - all.bucket_bits);
                let point = Point(top | (token >> all.bucket_bits));
                return Some((point, (token & all.slots_mask()) as u32));
            }
            self.bucket += 1;
            if self.bucket >> all.segment_bucket_bits != segment {
                self.offset = 0;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
