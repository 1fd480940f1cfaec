//! Reading and writing the fields of a message. Knows nothing of which message it is.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::WireError;

/// Reads fields off the front of a message and never past its end.
#[derive(Debug)]
pub(super) struct Fields(pub(super) Bytes);

impl Fields {
    fn need(&self, bytes: usize) -> Result<(), WireError> {
        if self.0.remaining() < bytes {
            Err(WireError::Truncated)
        } else {
            Ok(())
        }
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub(super) fn flag(&mut self) -> Result<bool, WireError> {
        Ok(self.u8()? != 0)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.need(2)?;
        Ok(self.0.get_u16_le())
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.need(4)?;
        Ok(self.0.get_u32_le())
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.need(8)?;
        Ok(self.0.get_u64_le())
    }

    pub(super) fn u128(&mut self) -> Result<u128, WireError> {
        self.need(16)?;
        Ok(self.0.get_u128_le())
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, WireError> {
        let length = self.u32()? as usize;
        self.need(length)?;
        Ok(self.0.split_to(length))
    }

    pub(super) fn text(&mut self) -> Result<String, WireError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| WireError::Text)
    }

    pub(super) fn rest(self) -> Bytes {
        self.0
    }
}

/// Appends a byte string with its length; bodies are bounded far below 4 GiB.
pub(super) fn put_bytes(to: &mut BytesMut, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a field is far smaller than 4 GiB");
    to.put_u32_le(length);
    to.put_slice(bytes);
}
