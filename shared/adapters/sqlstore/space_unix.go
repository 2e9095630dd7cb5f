//go:build unix

package sqlstore

import "golang.org/x/sys/unix"

// spaceOf returns the bytes that this user can still write in a folder, and the size of its
// file system.
func spaceOf(folder string) (free, total int64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, 0, err
	}
	block := int64(s.Bsize)
	return int64(s.Bavail) * block, int64(s.Blocks) * block, nil
}
