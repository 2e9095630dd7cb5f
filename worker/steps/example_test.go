package steps_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"errand/shared/adapters/sqlstore"
	"errand/worker/steps"
)

// An executor books a flight and a hotel. Its worker dies between the two. The next run of
// the turn has the number of the flight and books only the hotel.
func Example() {
	type booking struct {
		Number string `json:"number"`
	}

	booked := 0
	book := func(ctx context.Context, what string) (booking, error) {
		return steps.Do(ctx, "book-"+what, func(context.Context) (booking, error) {
			booked++ // a real one asks the airline, with a key of its own
			return booking{fmt.Sprint(what, "-", booked)}, nil
		})
	}

	execute := func(ctx context.Context, dies bool) error {
		flight, err := book(ctx, "flight")
		if err != nil {
			return err
		}
		if dies {
			return errors.New("the worker died")
		}

		hotel, err := book(ctx, "hotel")
		fmt.Println(flight.Number, "and", hotel.Number)
		return err
	}

	folder, err := os.MkdirTemp("", "steps")
	if err != nil {
		fmt.Println(err)
		return
	}

	defer os.RemoveAll(folder)

	db, err := sqlstore.Open(context.Background(), filepath.Join(folder, "errand.db"), sqlstore.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}

	defer db.Close()

	for _, dies := range []bool{true, false} { // the frame does this for each run of the turn
		ctx := steps.With(context.Background(), steps.Scope{KV: db.KV(), Owner: "acme", Prefix: "step/task/life/t000001/"})
		if err := execute(ctx, dies); err != nil {
			fmt.Println(err)
		}
	}

	fmt.Println(booked, "bookings")
	// Output:
	// the worker died
	// flight-1 and hotel-2
	// 2 bookings
}
