//! Other programs of this machine, asked without a shell and with a limit.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// Longest wait for another program.
const LIMIT: Duration = Duration::from_secs(5);

/// Most that is read of what it says, in bytes.
const MOST: u64 = 4096;

/// The file of a program, when the search path has it.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|file| {
            std::fs::metadata(file)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
}

/// What a program of the search path says on standard output, whatever its exit code. `Err` in a few words when it is
/// there and does not answer, `None` when it is not there.
pub(super) async fn ask(program: &str, arguments: &[&str]) -> Option<Result<String, String>> {
    let file = find(program)?;
    let answer = timeout(LIMIT, said(&file, arguments));
    Some(match answer.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    })
}

async fn said(file: &std::path::Path, arguments: &[&str]) -> std::io::Result<String> {
    let mut child = Command::new(file)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut bytes = Vec::new();
    if let Some(out) = child.stdout.take() {
        out.take(MOST).read_to_end(&mut bytes).await?;
    }
    child.wait().await?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
