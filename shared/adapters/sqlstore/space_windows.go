package sqlstore

import "golang.org/x/sys/windows"

// spaceOf returns the bytes that this user can still write in a folder, and the size of its
// file system.
func spaceOf(folder string) (free, total int64, err error) {
	name, err := windows.UTF16PtrFromString(folder)
	if err != nil {
		return 0, 0, err
	}
	var mine, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &mine, &all, nil); err != nil {
		return 0, 0, err
	}
	return int64(mine), int64(all), nil
}
