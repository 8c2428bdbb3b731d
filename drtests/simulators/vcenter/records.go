package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

const savedEvery = 200 * time.Millisecond // what a killed simulator may lose

// What of the inventory lives on.
type kept struct {
	Fields   []types.CustomFieldDef            `json:"fields"`
	Folders  []string                          `json:"folders"` // of machines, parents first
	Networks map[string][]keptGroup            `json:"networks"`
	Marks    map[string]map[string]string      `json:"marks"` // custom attributes of networks
	Machines []keptMachine                     `json:"machines"`
	Services map[string][]types.HostService    `json:"services"`
	Ntp      map[string][]string               `json:"ntp"`
	Options  map[string]map[string]optionValue `json:"options"`
	Access   map[string]keptAccess             `json:"access"`
}

type keptGroup struct {
	Name     string                           `json:"name"`
	Switch   string                           `json:"switch"`
	Vlan     int32                            `json:"vlan"`
	Security *types.HostNetworkSecurityPolicy `json:"security,omitempty"`
}

type keptAccess struct {
	Mode       types.HostLockdownMode `json:"mode"`
	Exceptions []string               `json:"exceptions"`
}

type optionValue struct {
	Number *int64  `json:"number,omitempty"`
	Text   *string `json:"text,omitempty"`
	Truth  *bool   `json:"truth,omitempty"`
}

type keptMachine struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Path      string            `json:"path"`
	File      string            `json:"file"` // its .vmx: what stands at Path may be another vCenter's by now
	Folder    string            `json:"folder"`
	Host      string            `json:"host"`
	Power     string            `json:"power"`
	Template  bool              `json:"template"`
	Values    map[string]string `json:"values"` // custom attributes by name
	Autostart *keptStart        `json:"autostart,omitempty"`
	Snapshots []keptSnapshot    `json:"snapshots,omitempty"`
}

type keptStart struct {
	Order  int32  `json:"order"`
	Action string `json:"action"`
}

type keptSnapshot struct {
	Name        string    `json:"name"`
	Description string    `json:"description"`
	At          time.Time `json:"at"`
}

type records struct {
	center  *vcenter
	file    string
	lock    sync.Mutex // one writer at a time
	changed chan struct{}
}

func newRecords(center *vcenter) *records {
	return &records{center: center, file: filepath.Join(center.Folder, "state.json"), changed: make(chan struct{}, 1)}
}

// Says that something changed; it is written soon.
func (all *records) touch() {
	select {
	case all.changed <- struct{}{}:
	default:
	}
}

// Writes what changed, for ever.
func (all *records) keep() {
	for range all.changed {
		time.Sleep(savedEvery)
		if err := all.save(); err != nil {
			fmt.Fprintf(os.Stderr, "state.json: %v\n", err)
		}
	}
}

func (all *records) save() error {
	all.lock.Lock()
	defer all.lock.Unlock()
	content, err := json.MarshalIndent(all.center.seen(), "", " ")
	if err != nil {
		return err
	}
	draft := all.file + ".new"
	if err := os.WriteFile(draft, content, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, all.file)
}

func (all *records) restore() error {
	content, err := os.ReadFile(all.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var was kept
	if err := json.Unmarshal(content, &was); err != nil {
		return fmt.Errorf("state.json: %w", err)
	}
	return all.center.bringBack(was)
}
