// SPDX-License-Identifier: GPL-3.0-or-later

// Validates a Compose file against the JSON schema of the Compose specification, resolves it as `docker compose config` does, with the
// variables of the environment, and prints the project as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	options, err := cli.NewProjectOptions(os.Args[1:], cli.WithOsEnv, cli.WithName("chroma"), cli.WithConsistency(true))
	if err == nil {
		project, failure := options.LoadProject(context.Background())
		if err = failure; err == nil {
			err = json.NewEncoder(os.Stdout).Encode(project)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
