//! `aftercall top`: what the fleet does, drawn again every second.

mod frame;
mod screen;

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use clap::Args;

use self::screen::{Event, Screen};
use super::{context::Context, failure::Failure, signals::Signals};
use crate::{desk::Desk, operate::look::Look};

const EXAMPLE: &str = "\
Examples:
  $ aftercall top                      # q or Ctrl-C ends it
  $ aftercall top --every 5s
  $ AFTERCALL_API=https://aftercall.example AFTERCALL_TOKEN=… aftercall top
  $ aftercall top --once               # one look, also into a file or a pipe
  $ aftercall top --once --json | jq '.gates'";

/// How long a look may take before the screen says that nobody answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows queues, gates, processes and the latest failures, live in the terminal
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Top {
    /// Look once and print it, without taking the terminal
    #[arg(long)]
    once: bool,
    /// How long from one look to the next
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    every: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let every = crate::config::duration::parse(text)?;
    if every < Duration::from_millis(200) {
        return Err("looking more often than every 200ms costs the database more than it tells".to_owned());
    }
    Ok(every)
}

impl Top {
    pub(super) async fn execute(self, context: &Context) -> Result<(), Failure> {
        let is_live = !self.once;
        if is_live && (context.out.is_json() || !std::io::stdout().is_terminal()) {
            return Err(Failure::Usage(
                "top draws on a terminal, and this is none: `aftercall top --once` prints one look, with --json for programs"
                    .to_owned(),
            ));
        }
        let desk = context.desk().await?;
        let look = desk.look().await?;
        if self.once {
            return context.out.print(&look, |out| {
                frame::lines(&look, out.width().map(usize::from), &|text, tone| out.paint(text, tone)).join("\n")
            });
        }
        let ended = live(context, &desk, self.every, look).await;
        desk.close().await;
        ended
    }
}

/// Draws until it is told to stop.
async fn live(context: &Context, desk: &Desk, every: Duration, mut look: Look) -> Result<(), Failure> {
    let place = desk.place();
    let signals = Signals::listen()?;
    let mut screen = Screen::enter()?;
    let mut trouble: Option<String> = None;
    let mut looked_at = Instant::now();
    loop {
        draw(context, &look, &place, trouble.as_deref())?;
        let next = looked_at + every;
        let wait = tokio::time::sleep_until(next.into());
        tokio::select! {
            () = wait => {}
            () = signals.told() => return Ok(()),
            event = screen.event() => match event {
                Event::Quit => return Ok(()),
                // Drawn again at its new size.
                Event::Resized => continue,
            },
        }
        let read = tokio::time::timeout(PATIENCE, desk.look());
        tokio::pin!(read);
        let answer = loop {
            tokio::select! {
                answer = &mut read => break answer,
                () = signals.told() => return Ok(()),
                event = screen.event() => match event {
                    Event::Quit => return Ok(()),
                    Event::Resized => draw(context, &look, &place, trouble.as_deref())?,
                },
            }
        };
        looked_at = Instant::now();
        match answer {
            Ok(Ok(newer)) => (look, trouble) = (newer, None),
            Ok(Err(error)) => trouble = Some(error.to_string()),
            Err(_) => trouble = Some(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}

fn draw(context: &Context, look: &Look, place: &str, trouble: Option<&str>) -> Result<(), Failure> {
    let (width, height) = Screen::size();
    let paint = |text: &str, tone| context.out.paint(text, tone);
    Screen::draw(&frame::page(look, place, trouble, (width, height), &paint))?;
    Ok(())
}
