//! The terminal while `top` has it: the alternate screen, raw keys, no cursor; given back as it was however `top` ends.

use std::{
    io::{self, Read as _, Write as _},
    panic,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    queue,
    style::Print,
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
        LeaveAlternateScreen,
    },
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// What Ctrl-C is while keys are raw, and Ctrl-D.
const CONTROL: [u8; 2] = [3, 4];
/// For a terminal that does not say.
const USUAL: (u16, u16) = (80, 24);

/// Whether the terminal is ours: it is given back once.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What happened at the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Quit,
    Resized,
}

/// The terminal, ours until this is dropped.
pub(super) struct Screen {
    keys: mpsc::Receiver<u8>,
    resized: Signal,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn enter() -> io::Result<Self> {
        let resized = signal(SignalKind::window_change())?;
        give_back_on_panic();
        TAKEN.store(true, Ordering::SeqCst);
        let screen = Self { keys: keys()?, resized };
        terminal::enable_raw_mode()?;
        let mut out = io::stdout().lock();
        queue!(out, EnterAlternateScreen, Hide, Clear(ClearType::All))?;
        out.flush()?;
        Ok(screen)
    }

    /// Columns and rows, now.
    pub(super) fn size() -> (usize, usize) {
        let (width, height) = terminal::size().unwrap_or(USUAL);
        (usize::from(width).max(1), usize::from(height).max(1))
    }

    /// Draws lines over what was there: each is cleared only behind its end, so that nothing flickers.
    pub(super) fn draw(lines: &[String]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, line) in (0_u16..).zip(lines) {
            queue!(out, MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
        }
        let end = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        if usize::from(end) < Self::size().1 {
            queue!(out, MoveTo(0, end), Clear(ClearType::FromCursorDown))?;
        }
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()
    }

    /// The next thing that happens. May be dropped while it waits.
    pub(super) async fn event(&mut self) -> Event {
        loop {
            tokio::select! {
                Some(()) = self.resized.recv() => return Event::Resized,
                Some(key) = self.keys.recv() => {
                    if matches!(key, b'q' | b'Q') || CONTROL.contains(&key) {
                        return Event::Quit;
                    }
                }
                // No keys and no signals any more: whoever waits beside this goes on.
                else => std::future::pending::<()>().await,
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// A panic is to be read on the usual screen.
fn give_back_on_panic() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        give_back();
        usual(info);
    }));
}

/// As it was before, as far as the terminal is still there.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = io::stdout();
    let _ = queue!(out, EndSynchronizedUpdate, LeaveAlternateScreen, Show);
    let _ = out.flush();
    let _ = terminal::disable_raw_mode();
}

/// Reads keys on a thread of its own, which ends with the process: a read of a terminal cannot be called off.
fn keys() -> io::Result<mpsc::Receiver<u8>> {
    let (pressed, keys) = mpsc::channel(16);
    thread::Builder::new()
        .name("aftercall-keys".to_owned())
        .spawn(move || {
            let mut key = [0];
            while let Ok(1) = io::stdin().lock().read(&mut key) {
                if pressed.blocking_send(key[0]).is_err() {
                    return;
                }
            }
        })?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        static WAS_TAKEN_WHEN_TOLD: AtomicBool = AtomicBool::new(true);
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() == Some("panics") {
                WAS_TAKEN_WHEN_TOLD.store(TAKEN.load(Ordering::SeqCst), Ordering::SeqCst);
            } else {
                usual(info);
            }
        }));
        give_back_on_panic();
        TAKEN.store(true, Ordering::SeqCst);
        let panics = thread::Builder::new().name("panics".to_owned());
        assert!(panics.spawn(|| panic!("of a test")).unwrap().join().is_err());
        assert!(!WAS_TAKEN_WHEN_TOLD.load(Ordering::SeqCst));
    }
}
