//go:build tools

package stock22

import (
	_ "vitess.io/vitess/go/cmd/vtadmin"
	_ "vitess.io/vitess/go/cmd/vtctldclient"
	_ "vitess.io/vitess/go/cmd/vtgate"
	_ "vitess.io/vitess/go/cmd/vttablet"
)
