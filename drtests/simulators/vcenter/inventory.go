package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	coresPerHost    = 64
	memoryPerHost   = 1 << 40
	templateDiskKB  = 10 << 20
	templateMB      = 1024
	defaultGuest    = "debian12_64Guest"
	sessionsTimeout = 365 * 24 * time.Hour // the gate ends idle sessions, to the second
)

// One vCenter, and all that is ours beside govmomi's.
type vcenter struct {
	settings
	service *simulator.Service
	client  *vim25.Client
	plans   *plans
	records *records
	asked   *askedFor

	folders map[string]string // of datastores
	naming  sync.Mutex        // held from the look for a name until it is taken
	pool    types.ManagedObjectReference
}

// Builds the inventory that was told, and what a former life kept.
func build(told settings) (*vcenter, error) {
	model, err := newModel(told)
	if err != nil {
		return nil, err
	}
	center := &vcenter{settings: told, service: model.Service, plans: newPlans(), asked: &askedFor{}}
	center.records = newRecords(center)
	center.service.Listen = &url.URL{Host: told.Address, User: url.User("told")}
	root := center.service.Context
	root.Map.SessionManager().ValidLogin = told.admits
	if center.client, err = vim25.NewClient(root, center.service); err != nil {
		return nil, err
	}
	if center.folders, err = told.datastoreFolders(); err != nil {
		return nil, err
	}
	if err := center.makeCluster(); err != nil {
		return nil, err
	}
	root.Map.Handler = center.dispatch
	root.Map.AddHandler(&fileTasks{
		self:       types.ManagedObjectReference{Type: "Mainstay", Value: "file-tasks"},
		datacenter: root.Map.Any("Datacenter").(*simulator.Datacenter),
	})
	if err := center.records.restore(); err != nil {
		return nil, err
	}
	for _, name := range told.Templates {
		if err := center.makeTemplate(name); err != nil {
			return nil, fmt.Errorf("template %s: %w", name, err)
		}
	}
	go center.records.keep()
	return center, nil
}

// Makes an empty vCenter that bears a UUID of its own; govmomi's all have the same.
func newModel(told settings) (*simulator.Model, error) {
	id, err := instanceUUID(filepath.Join(told.Folder, "instance-uuid"))
	if err != nil {
		return nil, err
	}
	// govmomi makes a folder for what it keeps itself.
	scratch := filepath.Join(told.Folder, "scratch")
	if err := os.RemoveAll(scratch); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, err
	}
	if err := os.Setenv("TMPDIR", scratch); err != nil {
		return nil, err
	}
	model := simulator.VPX()
	model.Datacenter = 0
	model.ServiceContent.About.InstanceUuid = id
	model.ServiceContent.About.Version, model.ServiceContent.About.ApiVersion = "8.0.3", "8.0.3.0"
	esx.HostHardwareInfo.MemorySize = memoryPerHost
	esx.HostHardwareInfo.CpuInfo.NumCpuCores = coresPerHost
	esx.HostSystem.Summary.Hardware.MemorySize = memoryPerHost
	esx.HostSystem.Summary.Hardware.NumCpuCores = coresPerHost
	return model, model.Create()
}

func instanceUUID(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(content)), nil
	}
	id := uuid.NewString()
	return id, os.WriteFile(file, []byte(id+"\n"), 0o600)
}

func (center *vcenter) makeCluster() error {
	root := center.service.Context
	datacenter, err := object.NewRootFolder(center.client).CreateDatacenter(root, center.Datacenter)
	if err != nil {
		return err
	}
	folders, err := datacenter.Folders(root)
	if err != nil {
		return err
	}
	cluster, err := folders.HostFolder.CreateCluster(root, center.Cluster, types.ClusterConfigSpecEx{})
	if err != nil {
		return err
	}
	for number := range center.Hosts {
		if err := center.addHost(cluster, fmt.Sprintf("%s-esx%d", center.Cluster, number+1)); err != nil {
			return err
		}
	}
	for _, one := range root.Map.All("HostSystem") { // last: govmomi adds no host beside one newer than it knows
		one.(*simulator.HostSystem).Config.Product.Version = center.Esxi
	}
	pool, err := cluster.ResourcePool(root)
	if err != nil {
		return err
	}
	center.pool = pool.Reference()
	return nil
}

func (center *vcenter) addHost(cluster *object.ClusterComputeResource, name string) error {
	root := center.service.Context
	task, err := cluster.AddHost(root, types.HostConnectSpec{HostName: name}, true, nil, nil)
	if err != nil {
		return err
	}
	made, err := task.WaitForResult(root, nil)
	if err != nil {
		return err
	}
	reference := made.Result.(types.ManagedObjectReference)
	host := root.Map.Get(reference).(*simulator.HostSystem)
	system, err := object.NewHostSystem(center.client, reference).ConfigManager().DatastoreSystem(root)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(center.folders))
	for datastore := range center.folders {
		names = append(names, datastore)
	}
	slices.Sort(names) // the same references in every life
	for _, datastore := range names {
		if _, err := system.CreateLocalDatastore(root, datastore, center.folders[datastore]); err != nil {
			return fmt.Errorf("datastore %s: %w", datastore, err)
		}
	}
	return center.equip(host)
}
