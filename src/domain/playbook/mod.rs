//! A playbook teaches aftercall a domain without code.
