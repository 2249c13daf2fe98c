//! A practice behind NexHealth: its sign-in, patients and appointments by number.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Response, header::CONTENT_TYPE},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// The server. Dropping it stops it.
pub(crate) struct NexHealth {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for NexHealth {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NexHealth {
    /// Serves these, each by the `id` that it holds.
    pub(crate) async fn start(patients: &[Value], appointments: &[Value]) -> Self {
        let (patients, appointments) = (patients.to_vec(), appointments.to_vec());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        let router = Router::new().fallback(move |request: Request| {
            let path = request.uri().path().to_owned();
            log.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
            let signed_in = request
                .headers()
                .get("authorization")
                .is_some_and(|token| token == "Bearer jwt");
            let by_id = |list: &[Value], id: &str| {
                let id: u64 = id.parse().ok()?;
                list.iter().find(|one| one["id"] == id).cloned()
            };
            let data = match path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
                ["authenticates"] => Some(json!({"token": "jwt"})),
                _ if !signed_in => None,
                ["patients"] => Some(json!({"patients": patients})),
                ["patients", id] => by_id(&patients, id),
                ["appointments", id] => by_id(&appointments, id),
                _ => None,
            };
            let status = match (&data, signed_in) {
                (Some(_), _) => 200,
                (None, true) => 404,
                (None, false) => 401,
            };
            let body = json!({"code": data.is_some(), "data": data, "error": null});
            async move {
                let response = Response::builder()
                    .status(status)
                    .header(CONTENT_TYPE, "application/json");
                response.body(Body::from(body.to_string())).unwrap()
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked, task }
    }

    /// The paths asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
