//go:build tools

package stock

import (
	// what the end-to-end tests of the module need beside the programs
	_ "github.com/tidwall/gjson"
	_ "vitess.io/vitess/go/test/endtoend/cluster"

	_ "vitess.io/vitess/go/cmd/mysqlctl"
	_ "vitess.io/vitess/go/cmd/vtadmin"
	_ "vitess.io/vitess/go/cmd/vtctld"
	_ "vitess.io/vitess/go/cmd/vtctldclient"
	_ "vitess.io/vitess/go/cmd/vtgate"
	_ "vitess.io/vitess/go/cmd/vtorc"
	_ "vitess.io/vitess/go/cmd/vttablet"
)
