//! Connections: accepted until the end, and finished then.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Parts, router};

/// Serves until `stop`, then finishes the requests under way.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    parts: Parts,
    stop: CancellationToken,
) -> std::io::Result<()> {
    axum::serve(listener, router(parts))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
}
