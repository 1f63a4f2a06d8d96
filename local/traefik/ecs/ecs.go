// Copyright: (c) 2026, The thinkube.chroma contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// Package ecs takes the place of Traefik's package of this name: Amazon's libraries, which only that one needs, are a quarter of what
// Traefik is compiled from, and the local cluster has no services there.
package ecs

import (
	"errors"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/safe"
)

// ProviderName is its name in settings.
const ProviderName = "ecs"

// Provider has no settings.
type Provider struct{}

// SetDefaults does nothing: there is nothing to set.
func (p *Provider) SetDefaults() {}

// Init returns an error: there is no such provider.
func (p *Provider) Init() error {
	return errors.New("this Traefik was built without Amazon ECS")
}

// Provide returns the same error.
func (p *Provider) Provide(chan<- dynamic.Message, *safe.Pool) error {
	return p.Init()
}
