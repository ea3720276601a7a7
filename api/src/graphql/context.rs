//! What a resolver finds in its context: one [`Call`], put there by [`prepare`].

use angarium_entity::api_key::Scope;
use angarium_entity::{TraceContext, WorkspaceId};
use async_graphql::{Context, Request};

use super::error::RequestId;
use super::loader::Loaders;
use crate::app::AppError;
use crate::{AppState, Caller};

/// One operation: the server, who calls, and what was already asked for.
pub(crate) struct Call {
    state: AppState,
    caller: Option<Caller>,
    loaders: Loaders,
    trace: Option<TraceContext>,
}

/// Makes an operation ready to be executed. Every operation needs it, also those that share a WebSocket: nothing that
/// was loaded for one may serve another. Without a caller only introspection and `serverInfo` answer. What is published
/// belongs into `trace`.
pub fn prepare(
    request: Request,
    state: &AppState,
    caller: Option<Caller>,
    request_id: String,
    trace: Option<TraceContext>,
) -> Request {
    let call = Call { state: state.clone(), caller, loaders: Loaders::new(state.clone()), trace };
    request.data(call).data(RequestId(request_id))
}

/// Shortcuts for resolvers.
pub(crate) trait CallContext<'a> {
    fn call(&self) -> Result<&'a Call, AppError>;

    /// What every request needs.
    fn app(&self) -> Result<&'a AppState, AppError> {
        self.call().map(|call| &call.state)
    }

    /// Who calls.
    fn caller(&self) -> Result<&'a Caller, AppError> {
        self.call()?.caller.as_ref().ok_or(AppError::Unauthenticated)
    }

    /// Where the operation stands in a trace.
    fn trace(&self) -> Option<TraceContext> {
        self.call().ok()?.trace.clone()
    }

    /// The workspace that the call acts on.
    fn workspace_id(&self) -> Result<WorkspaceId, AppError> {
        Ok(self.caller()?.workspace_id()?)
    }

    /// What is loaded together.
    fn loaders(&self) -> Result<&'a Loaders, AppError> {
        self.call().map(|call| &call.loaders)
    }

    /// Refuses a caller without `scope`.
    fn require(&self, scope: Scope) -> Result<(), AppError> {
        Ok(self.caller()?.require(scope)?)
    }
}

impl<'a> CallContext<'a> for Context<'a> {
    fn call(&self) -> Result<&'a Call, AppError> {
        self.data_opt().ok_or_else(|| AppError::Inconsistent("the operation was not prepared".to_owned()))
    }
}
