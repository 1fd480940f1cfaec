//! Runs a program under a time limit. Knows nothing about what it is for.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often a running program is looked at. It costs nothing and delays nobody noticeably.
const POLL: Duration = Duration::from_millis(100);

/// Runs `command` to its end, its output on ours.
pub(crate) fn succeed(command: &mut Command, limit: Duration) -> Result<()> {
    let child = spawn(command)?;
    let status = wait(child, limit, command)?;
    check(status, command)
}

/// Runs `command` to its end and returns what it wrote to its standard output.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<(ExitStatus, String)> {
    let mut child = spawn(command.stdout(Stdio::piped()))?;
    let mut stdout = child
        .stdout
        .take()
        .context("the standard output is piped")?;
    // Read aside: a program whose pipe is full would never end.
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let status = wait(child, limit, command)?;
    let Ok(text) = reader.join() else {
        bail!("the reader of {} panicked", name(command))
    };
    Ok((status, text?))
}

/// The command as one would type it.
pub(crate) fn name(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

fn spawn(command: &mut Command) -> Result<Child> {
    command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("{} did not start", name(command)))
}

fn wait(mut child: Child, limit: Duration, command: &Command) -> Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begun.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("{} was stopped after {} s", name(command), limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

fn check(status: ExitStatus, command: &Command) -> Result<()> {
    if !status.success() {
        bail!("{} ended with {status}", name(command));
    }
    Ok(())
}
