// SPDX-License-Identifier: GPL-3.0-or-later

// Package ext stands in for Traefik's extension point, which is empty there and no part of its published module.
package ext

// HTTP extends the HTTP configuration by nothing.
type HTTP struct{}

// Router extends a router by nothing.
type Router struct{}
