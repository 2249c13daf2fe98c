//! Lists of the API, page after page.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::Trouble;
use crate::{adapters::aftercall_api::ApiClient, operate::page::Page};

/// Items of one page, at most.
const MOST: usize = 500;
/// Pages of one list, at most: a server that never comes to an end is not followed for ever.
const PAGES: usize = 100_000;

/// A list that the API answers whole.
pub(super) async fn whole<T>(api: &ApiClient, path: &[&str], query: &[(&str, String)]) -> Result<Vec<T>, Trouble>
where
    T: DeserializeOwned + utoipa::ToSchema,
{
    Ok(api.get::<Page<T>>(path, query).await?.items)
}

/// The first `most` items of a list behind `after`, and where it goes on.
pub(super) async fn walk<T>(
    api: &ApiClient,
    path: &[&str],
    query: &[(&str, String)],
    after: Option<String>,
    most: usize,
) -> Result<(Vec<T>, Option<String>), Trouble>
where
    T: DeserializeOwned + utoipa::ToSchema,
{
    let (mut items, mut after) = (Vec::new(), after);
    let mut seen = BTreeSet::new();
    for _ in 0..PAGES {
        let mut query = query.to_vec();
        query.push(("limit", (most - items.len()).min(MOST).to_string()));
        query.extend(after.clone().map(|after| ("after", after)));
        let page: Page<T> = api.get(path, &query).await?;
        items.extend(page.items);
        after = page.next;
        match &after {
            Some(next) if items.len() < most && seen.insert(next.clone()) => {}
            _ => {
                let is_whole = after.is_none() || items.len() >= most;
                items.truncate(most);
                return if is_whole {
                    Ok((items, after))
                } else {
                    Err(endless(api))
                };
            }
        }
    }
    Err(endless(api))
}

fn endless(api: &ApiClient) -> Trouble {
    Trouble::Away(format!(
        "{} gives the same page again and again: please report it",
        api.address()
    ))
}

/// A parameter that is left out where there is none.
pub(super) fn asked<'a, T: ToString>(name: &'a str, value: Option<&T>) -> Option<(&'a str, String)> {
    value.map(|value| (name, value.to_string()))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::desk::Desk;

    /// A server that answers everything with this.
    async fn answering(body: &'static str) -> ApiClient {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4_096]).await;
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        match Desk::at_api(&url, None, false).unwrap() {
            Desk::Api(api) => api,
            Desk::Database(_) => panic!("that was an API"),
        }
    }

    #[tokio::test]
    async fn a_server_that_gives_the_same_page_for_ever_is_left() {
        let api = answering(r#"{"items": [], "next": "A"}"#).await;
        let error = walk::<u32>(&api, &["jobs"], &[], None, 10).await.unwrap_err();
        assert!(error.to_string().contains("again and again"), "{error}");
    }

    #[tokio::test]
    async fn a_page_of_more_items_than_were_asked_for_is_cut() {
        let api = answering(r#"{"items": [1, 2, 3], "next": null}"#).await;
        assert_eq!(walk::<u32>(&api, &["jobs"], &[], None, 2).await.unwrap().0, [1, 2]);
    }
}
