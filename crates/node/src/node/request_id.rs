//! What a request for a row is called in the log of its partition. Knows nothing of where an id
//! comes from, nor of how long it is remembered.

use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The version of this scheme; another one makes other names of the same requests.
const SCHEME: u64 = 1;

/// The name of the request with this id for this row: an id counts for one row, so that one id may
/// be used for many. `occurrence` counts the items of a batch for the same row, from 0.
pub(super) fn request_of(id: u128, row: &[u8], occurrence: u64) -> u128 {
    let mut bytes = Vec::with_capacity(24 + row.len());
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&occurrence.to_le_bytes());
    bytes.extend_from_slice(row);
    xxh3_128_with_seed(&bytes, SCHEME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_requests_do_not_change() {
        let names = [
            request_of(0, b"", 0),
            request_of(1, b"row", 0),
            request_of(1, b"row", 1),
            request_of(u128::MAX, b"another row", 0),
        ];
        // Computed by another implementation of XXH3.
        let golden: [u128; 4] = [
            0x0f89_688c_a6a5_19be_0001_2273_b906_5b5b,
            0xbacb_9d89_fc1d_1dc2_656c_f6a0_ad7a_2cbc,
            0xba79_0300_5154_baf6_f47d_7323_d3a4_91e7,
            0xff2a_5c25_f446_e42d_8b6b_ae5c_8fbd_347b,
        ];
        assert_eq!(names, golden);
    }

    #[test]
    fn id_row_and_occurrence_all_count() {
        let mut names = std::collections::BTreeSet::new();
        for id in 0..20 {
            for row in [&b"a"[..], b"b", b"ab", b""] {
                for occurrence in 0..5 {
                    names.insert(request_of(id, row, occurrence));
                }
            }
        }
        assert_eq!(names.len(), 20 * 4 * 5);
    }
}
