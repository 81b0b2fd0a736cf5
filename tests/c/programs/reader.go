// SPDX-License-Identifier: MIT

// Reads files below its argument in Go's ways, which go past libc.
package main

import (
	"bufio"
	"crypto/md5"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

func main() {
	box := os.Args[1]
	data, err := os.ReadFile(box + "/bin")
	fmt.Printf("%d %v %x\n", len(data), err, md5.Sum(data))
	file, _ := os.Open(box + "/text")
	copied, err := io.Copy(io.Discard, file)
	fmt.Println(copied, err)
	at, err := file.Seek(-40, io.SeekEnd)
	line, _ := bufio.NewReader(file).ReadString('\n')
	fmt.Println(at, err, line)
	info, err := os.Stat(box + "/link")
	fmt.Println(info.Size(), info.Mode(), info.ModTime().UnixNano(), err)
	link, err := os.Lstat(box + "/link")
	target, _ := os.Readlink(box + "/link")
	fmt.Println(link.Mode(), target, err)
	_, err = os.Open(box + "/missing")
	fmt.Println(os.IsNotExist(err))
	_, err = os.Create(box + "/new")
	fmt.Println(err != nil || os.Remove(box+"/new") == nil)
	entries, err := os.ReadDir(box + "/many")
	fmt.Println(len(entries), entries[0].Name(), err)
	count := 0
	filepath.Walk(box, func(string, os.FileInfo, error) error { count++; return nil })
	fmt.Println(count)
	var group sync.WaitGroup
	sums := make([]string, 64)
	for i := range sums {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			data, _ := os.ReadFile(fmt.Sprintf("%s/many/f%03d", box, i))
			sums[i] = fmt.Sprintf("%x", md5.Sum(data))
		}(i)
	}
	group.Wait()
	fmt.Println(sums)
	fmt.Println(os.Chdir(box+"/many"), os.Chdir("../sub"))
	_, err = os.Stat("../text")
	fmt.Println(err)
}
