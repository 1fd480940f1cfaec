//! A directory as a storage, used only as long as its path leads to the very directory that was
//! looked at. Where something else is mounted or nothing at all, an object is neither written nor
//! missed there: what was acknowledged would be gone when the directory is back. Knows nothing of
//! what is stored.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use slatedb::object_store::local::LocalFileSystem;
use slatedb::object_store::path::Path;
use slatedb::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use slatedb_common::retry::NonRetryable;

/// The file that is made and removed to see whether the directory can be written.
const PROBE: &str = ".tablestore-probe";

/// A directory and which one it was.
#[derive(Debug)]
pub(crate) struct Rooted {
    files: LocalFileSystem,
    root: Root,
}

#[derive(Clone, Debug)]
struct Root {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Rooted {
    /// The directory that is there now. Files and their directories are synced before a write
    /// counts as done: the library does not do so by itself.
    pub(crate) fn at(path: &FilePath) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        if !found.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let root = Root {
            path: path.to_owned(),
            device: found.dev(),
            inode: found.ino(),
        };
        let files = LocalFileSystem::new_with_prefix(path).map_err(io::Error::other)?;
        let files = files.with_fsync(true);
        Ok(Self { files, root })
    }

    /// Whether a file can be made and removed in it.
    pub(crate) fn can_be_written(path: &FilePath) -> io::Result<()> {
        let probe = path.join(format!("{PROBE}-{}", std::process::id()));
        std::fs::write(&probe, b"")?;
        std::fs::remove_file(&probe)
    }
}

impl Root {
    /// Whether the path still leads there.
    async fn check(&self) -> Result<()> {
        let found = tokio::fs::metadata(&self.path).await;
        match found {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => {
                let error = io::Error::other("it is another directory than it was");
                Err(unusable(&self.path, error))
            }
            Err(error) => Err(unusable(&self.path, error)),
        }
    }

    /// What was missed is only missing if the directory is there.
    async fn unless_gone(&self, error: Error) -> Error {
        match self.check().await {
            Ok(()) => error,
            Err(gone) => gone,
        }
    }
}

/// Trying again does not help: the partition ends, and is opened again.
fn unusable(path: &FilePath, error: io::Error) -> Error {
    let text = format!(
        "the shared directory {} cannot be used: {error}",
        path.display()
    );
    Error::Generic {
        store: "directory",
        source: Box::new(NonRetryable(text.into())),
    }
}

impl fmt::Display for Rooted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Rooted {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        // Before, so that nothing is made elsewhere; and after, so that nothing counts that was.
        self.root.check().await?;
        match self.files.put_opts(at, payload, options).await {
            Ok(put) => self.root.check().await.map(|()| put),
            Err(error) => Err(self.root.unless_gone(error).await),
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.root.check().await?;
        let upload = self.files.put_multipart_opts(at, options).await?;
        Ok(Box::new(RootedUpload {
            upload,
            root: self.root.clone(),
        }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        match self.files.get_opts(at, options).await {
            Ok(found) => Ok(found),
            Err(error) => Err(self.root.unless_gone(error).await),
        }
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let root = self.root.clone();
        // The end of a list says that there is no more.
        let end = stream::once(async move { root.check().await });
        let end = end.filter_map(async |checked| checked.err().map(Err));
        self.files.list(prefix).chain(end).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let listed = self.files.list_with_delimiter(prefix).await?;
        self.root.check().await.map(|()| listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.root.check().await?;
        self.files.copy_opts(from, to, options).await?;
        self.root.check().await
    }
}

/// An object that is written in parts.
#[derive(Debug)]
struct RootedUpload {
    upload: Box<dyn MultipartUpload>,
    root: Root,
}

#[async_trait]
impl MultipartUpload for RootedUpload {
    fn put_part(&mut self, data: PutPayload) -> slatedb::object_store::UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.upload.complete().await?;
        self.root.check().await.map(|()| put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
