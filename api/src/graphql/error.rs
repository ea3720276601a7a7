//! How errors leave the server.
//!
//! Lanes   what a person can put right is in `userErrors`; what a program did wrong has `extensions.code`; what went
//!         wrong in here is told as `INTERNAL_SERVER_ERROR` with a `requestId` and nothing else, and logged once with
//!         that ID and its whole chain of causes.
//! Trap    `?` copies the text of any error into the answer. It keeps the error itself beside the text, so the last
//!         step, [`Errors`], decides by what the error is and not by what it says.
//! Trap    `Result<Option<T>>` makes the parent null, and so does a guard; only `Option<Result<T>>` makes the field
//!         null. Fallible nullable fields are written that way.
//! Trap    where an error passes a list on its way up, async-graphql shortens its path to the entry of the list; the
//!         location still points to the field.

use std::any::TypeId;
use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextExecute, NextPrepareRequest, NextSubscribe,
};
use async_graphql::{Request, Response, ServerError, ServerResult};
use futures_util::stream::{BoxStream, StreamExt as _};

use crate::app::AppError;

/// What the log and the answer of one call have in common.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Gives every error of an execution its code, or masks it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errors;

impl ExtensionFactory for Errors {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(ErrorsOfOne::default())
    }
}

/// The same for one request.
#[derive(Default)]
struct ErrorsOfOne {
    request_id: Arc<OnceLock<RequestId>>,
}

#[async_trait]
impl Extension for ErrorsOfOne {
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let id = request.data.get(&TypeId::of::<RequestId>()).and_then(|id| id.downcast_ref::<RequestId>());
        if let Some(id) = id {
            self.request_id.get_or_init(|| id.clone());
        }
        next.run(ctx, request).await
    }

    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(ctx, operation_name).await;
        response.errors.iter_mut().for_each(|error| dress(error, self.request_id.get()));
        response
    }

    /// A subscription executes once for each message, and each passes through [`Extension::execute`]; what fails to
    /// start passes only through here.
    fn subscribe<'s>(
        &self,
        ctx: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        let request_id = Arc::clone(&self.request_id);
        let dressed = next.run(ctx, stream).map(move |mut response| {
            response.errors.iter_mut().filter(|error| !error.path.is_empty()).for_each(|error| {
                dress(error, request_id.get());
            });
            response
        });
        dressed.boxed()
    }
}

/// Sets the code of an error, or masks it. Doing it again changes nothing.
fn dress(error: &mut ServerError, request_id: Option<&RequestId>) {
    if error.extensions.as_ref().is_some_and(|extensions| extensions.get("code").is_some()) {
        return;
    }
    let known = error.source::<AppError>().or_else(|| error.source::<Arc<AppError>>().map(AsRef::as_ref));
    let code = match known {
        Some(known) => known.code(),
        // An error without a source is async-graphql's own: an argument that does not parse, or a limit.
        None if error.source.is_none() => Some("BAD_USER_INPUT"),
        None => None,
    };
    let Some(code) = code else {
        log(error, known, request_id);
        mask(error, request_id);
        return;
    };
    if let Some(AppError::DatabaseAway(_)) = known {
        log(error, known, request_id);
    }
    let retry_after = match known {
        Some(AppError::Overloaded { retry_after }) => Some(retry_after.as_millis()),
        _ => None,
    };
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("code", code);
    if let Some(millis) = retry_after {
        extensions.set("retryAfterMs", u64::try_from(millis).unwrap_or(u64::MAX));
    }
}

fn log(error: &ServerError, known: Option<&AppError>, request_id: Option<&RequestId>) {
    let request_id = request_id.map_or("none", |id| &id.0);
    let chain = known.map_or_else(|| error.message.clone(), |known| chain(known));
    tracing::error!(request_id, path = ?error.path, "{chain}");
}

/// An error with everything that caused it, in one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn mask(error: &mut ServerError, request_id: Option<&RequestId>) {
    "the server failed; its log says why".clone_into(&mut error.message);
    error.source = None;
    let extensions = error.extensions.get_or_insert_default();
    extensions.set("code", "INTERNAL_SERVER_ERROR");
    if let Some(id) = request_id {
        extensions.set("requestId", id.0.as_str());
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{Error, Pos};
    use sea_orm::DbErr;

    use super::*;

    fn dressed(error: Error) -> ServerError {
        let mut error = error.into_server_error(Pos { line: 1, column: 1 });
        dress(&mut error, Some(&RequestId("req_1".to_owned())));
        error
    }

    fn code(error: &ServerError) -> String {
        error.extensions.as_ref().and_then(|e| e.get("code")).map(ToString::to_string).unwrap_or_default()
    }

    #[test]
    fn our_own_faults_are_masked_and_named_by_the_request() {
        let secret = || DbErr::Custom("password=hunter2".to_owned());
        for error in [
            Error::from(AppError::Database(secret())),
            Error::from(Arc::new(AppError::Database(secret()))),
            Error::from(secret()),
        ] {
            let masked = dressed(error);
            assert_eq!(code(&masked), "\"INTERNAL_SERVER_ERROR\"");
            assert!(!format!("{masked:?}").contains("hunter2"));
            assert!(format!("{masked:?}").contains("req_1"));
        }
    }

    #[test]
    fn what_a_program_can_put_right_keeps_its_message_and_gets_a_code() {
        let told = dressed(Error::from(AppError::BadInput("`first` is not from 1 to 100".to_owned())));
        assert_eq!(told.message, "`first` is not from 1 to 100");
        assert_eq!(code(&told), "\"BAD_USER_INPUT\"");
        assert_eq!(code(&dressed(Error::from(AppError::Unauthenticated))), "\"UNAUTHENTICATED\"");
    }

    #[test]
    fn a_chain_of_causes_is_one_line() {
        let error = AppError::Database(DbErr::Custom("disk full".to_owned()));
        assert_eq!(chain(&error), "the database failed: Custom Error: disk full");
    }
}
