//! Local logins: who may use which account.
