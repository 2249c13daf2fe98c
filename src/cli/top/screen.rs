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
        // A panic is to be read on the usual screen.
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            usual(info);
        }));
        TAKEN.store(true, Ordering::SeqCst);
        let screen = Self {
            keys: keys()?,
            resized,
        };
        terminal::enable_raw_mode()?;
        let mut out = io::stdout().lock();
        queue!(out, EnterAlternateScreen, Hide, Clear(ClearType::All))?;
        out.flush()?;
        Ok(screen)
    }

    /// Columns and rows, now.
    pub(super) fn size(&self) -> (usize, usize) {
        let (width, height) = terminal::size().unwrap_or(USUAL);
        (usize::from(width).max(1), usize::from(height).max(1))
    }

    /// Draws lines over what was there: each is cleared only behind its end, so that nothing flickers.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, line) in (0_u16..).zip(lines) {
            queue!(out, MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
        }
        let end = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        if usize::from(end) < self.size().1 {
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
