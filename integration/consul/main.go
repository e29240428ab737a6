// A Consul agent for the conformance tests of topologies: Consul's `agent` command and nothing else of its program.
package main

import (
	"os"

	"github.com/hashicorp/consul/command/agent"
	"github.com/hashicorp/consul/command/cli"
	base "github.com/mitchellh/cli"
)

func main() {
	ui := &cli.BasicUI{BasicUi: base.BasicUi{Writer: os.Stdout, ErrorWriter: os.Stderr}}
	os.Exit(agent.New(ui).Run(os.Args[1:]))
}
