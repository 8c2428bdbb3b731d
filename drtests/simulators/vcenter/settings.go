package main

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// What the simulator is told; the fields of VcenterSimulator in automation/model/simulators.py.
type settings struct {
	Folder      string            `json:"-"`
	Name        string            `json:"name"`
	Address     string            `json:"address"`
	Port        int               `json:"port"`
	Certificate string            `json:"certificate"`
	Key         string            `json:"key"`
	Logins      map[string]string `json:"logins"`
	Limited     []string          `json:"limited"` // logins that may do what permissions say; the others all

	Datacenter string            `json:"datacenter"`
	Cluster    string            `json:"cluster"`
	Hosts      int               `json:"hosts"`
	Datastores []string          `json:"datastores"`
	Replicated map[string]string `json:"replicated"`
	Networks   []string          `json:"networks"`
	Templates  []string          `json:"templates"`
	IdleS      float64           `json:"idle_s"`
	Esxi       string            `json:"esxi"`        // version of the hosts
	SecureBoot bool              `json:"secure_boot"` // whether they say that they booted so

	Powers     map[string]powered `json:"powers"`
	Supervisor string             `json:"supervisor"`
	LabID      string             `json:"lab_id"`
	Simulator  string             `json:"simulator"`
}

// A host of the lab that stands for a machine.
type powered struct {
	Host    string `json:"host"`
	Address string `json:"address"`
	Site    string `json:"site"`
}

func readSettings(folder string) (settings, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return settings{}, err
	}
	told := settings{
		Folder: folder, Name: "vcenter", Datacenter: "city", Cluster: "main", Hosts: 2,
		Datastores: []string{"local"}, Networks: []string{"VM Network"}, IdleS: 1800,
		Esxi: "8.0.3", SecureBoot: true,
	}
	content, err := os.ReadFile(filepath.Join(folder, "settings.json"))
	if err != nil {
		return told, err
	}
	if err := json.Unmarshal(content, &told); err != nil {
		return told, fmt.Errorf("settings.json: %w", err)
	}
	if len(told.Logins) == 0 || told.Hosts < 1 || len(told.Datastores) == 0 {
		return told, errors.New("settings.json: logins, one host and one datastore are needed")
	}
	return told, nil
}

// Gives the folder of every datastore; a replicated one is the same folder at two vCenters.
func (told settings) datastoreFolders() (map[string]string, error) {
	folders := map[string]string{}
	for _, name := range told.Datastores {
		folders[name] = filepath.Join(told.Folder, "datastores", name)
	}
	for name, folder := range told.Replicated {
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(told.Folder, folder)
		}
		folders[name] = folder
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
	}
	return folders, nil
}

// Tells whether a login is one of the told ones; read anew each time, so that a secret can be changed.
func (told settings) admits(login *types.Login) bool {
	for _, file := range told.Logins {
		user, password, err := readLogin(file)
		if err != nil {
			continue
		}
		same := subtle.ConstantTimeCompare([]byte(password), []byte(login.Password)) == 1
		if same && user == login.UserName {
			return true
		}
	}
	return false
}

// Tells whether a user is one of the limited logins.
func (told settings) isLimited(user string) bool {
	for _, name := range told.Limited {
		known, _, err := readLogin(told.Logins[name])
		if err == nil && principal(known) == principal(user) {
			return true
		}
	}
	return false
}

func readLogin(file string) (user, password string, err error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	for _, line := range strings.Split(string(content), "\n") {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "VSPHERE_USER":
			user = value
		case "VSPHERE_PASSWORD":
			password = value
		}
	}
	if user == "" || password == "" {
		return "", "", fmt.Errorf("%s: VSPHERE_USER and VSPHERE_PASSWORD are needed", file)
	}
	return user, password, nil
}
