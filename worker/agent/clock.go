package agent

import (
	"context"
	"errors"
	"time"
	_ "time/tzdata" // the container image has no time zones of its own

	"errand/worker/tools"
)

type clockIn struct {
	Zone string `json:"zone,omitempty" jsonschema:"IANA time zone, such as Europe/Berlin; UTC if left out"`
}

type clockOut struct {
	Time    time.Time `json:"time"`
	Weekday string    `json:"weekday"`
	Zone    string    `json:"zone"`
}

// clock is an example of a tool: its arguments, its result, and a function.
func clock() tools.Tool {
	return tools.New("time", "Tells the date, the time of day and the weekday, now, in a time zone.",
		func(_ context.Context, in clockIn) (clockOut, error) {
			if in.Zone == "" {
				in.Zone = "UTC"
			}
			// "Local" would reveal the zone of this machine.
			zone, err := time.LoadLocation(in.Zone)
			if err != nil || in.Zone == "Local" {
				return clockOut{}, errors.New("there is no such time zone; use an IANA name such as Europe/Berlin")
			}
			now := time.Now().In(zone).Truncate(time.Second)
			return clockOut{Time: now, Weekday: now.Weekday().String(), Zone: in.Zone}, nil
		})
}
